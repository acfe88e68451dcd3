-- forget_sessions: removes sessions that have been dead for longer than any statement may last
-- and hold nothing.
DELETE FROM {schema}.sessions s
WHERE s.dead_at < statement_timestamp() - interval '5 minutes'
    AND NOT EXISTS (
        SELECT FROM {schema}.open_tasks t
        WHERE t.holder = ANY (ARRAY(SELECT h.id FROM {schema}.holders h WHERE h.session_id = s.id))
        OFFSET 0
    )
