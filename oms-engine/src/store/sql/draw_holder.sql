-- draw_holder: a new incarnation of a pump. $1 session id. No row: the session is dead.
INSERT INTO {schema}.holders (session_id)
SELECT id FROM {schema}.sessions WHERE id = $1::bigint AND dead_at IS NULL
RETURNING id
