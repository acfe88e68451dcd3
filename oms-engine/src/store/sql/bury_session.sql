-- bury_session: marks a session dead unless it has sent a heartbeat since it was looked at.
-- $1 session id, $2 the heartbeat that was seen. Out: its holders.
WITH dead AS (
    UPDATE {schema}.sessions
    SET dead_at = coalesce(dead_at, statement_timestamp())
    WHERE id = $1::bigint AND heartbeat_at = $2::timestamptz
    RETURNING id
)
SELECT array(SELECT h.id FROM {schema}.holders h JOIN dead ON dead.id = h.session_id) AS holders,
    EXISTS (SELECT FROM dead) AS buried
