-- postpone_event_action: an action is tried again after a while; others go first.
-- $1 event id, $2 handler, $3 number, $4 delay in ms
UPDATE {schema}.event_executions
SET due_at = statement_timestamp() + $4::bigint * interval '1 millisecond'
WHERE event_id = $1::bigint AND handler = $2::text AND action_number = $3::smallint AND status = 0
