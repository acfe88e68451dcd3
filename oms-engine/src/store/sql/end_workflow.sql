-- end_workflow: ends a run whose row is locked and whose tokens are taken.
-- $1 workflow id, $2 status, $3 output, $4 reason, $5 failed task
UPDATE {schema}.workflows
SET status = $2::smallint, output = $3::jsonb, reason = $4::text,
    failed_task = $5::text, ended_at = statement_timestamp()
WHERE id = $1::uuid AND status IN (0, 1)
RETURNING id
