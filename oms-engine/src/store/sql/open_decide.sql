-- open_decide: a token of no task, for whichever engine takes it: the run goes on as it says.
-- $1 workflow id, $2 epoch, $3 priority, $4 what to decide
INSERT INTO {schema}.open_tasks (workflow_id, reference_name, epoch, queue, state, priority, input)
VALUES ($1::uuid, '', $2::smallint, '$system', 0, $3::smallint, $4::jsonb)
