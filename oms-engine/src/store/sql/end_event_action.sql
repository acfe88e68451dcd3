-- end_event_action: what an action came to, if it has not ended yet.
-- $1 event id, $2 handler, $3 number, $4 status, $5 output
UPDATE {schema}.event_executions
SET status = $4::smallint, output = $5::jsonb, ended_at = statement_timestamp()
WHERE event_id = $1::bigint AND handler = $2::text AND action_number = $3::smallint AND status = 0
