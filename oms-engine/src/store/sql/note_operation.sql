-- note_operation: what an operator does to a run, in its transaction. $1 workflow id, $2 action,
-- $3 the step, if it is done to one, $4 who, $5 why.
INSERT INTO {schema}.operations (workflow_id, action, reference_name, operator, reason)
VALUES ($1::uuid, $2::text, $3::text, $4::text, $5::text)
