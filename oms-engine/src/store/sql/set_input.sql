-- set_input: what an ended run gets as it goes on; its row is locked. $1 workflow id, $2 input,
-- $3 correlation id (null = as it is)
UPDATE {schema}.workflows
SET input = coalesce($2::jsonb, input), correlation_id = coalesce($3::text, correlation_id)
WHERE id = $1::uuid
