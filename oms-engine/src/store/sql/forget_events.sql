-- forget_events: events that were laid out, whose actions have ended, and that are older than
-- $1 ms, with what handlers did. $2 how many at most.
DELETE FROM {schema}.events
WHERE id = ANY (ARRAY(
    SELECT e.id
    FROM {schema}.events e
    WHERE NOT e.pending
        AND e.published_at < statement_timestamp() - $1::bigint * interval '1 millisecond'
        AND NOT EXISTS (
            SELECT FROM {schema}.event_executions x WHERE x.event_id = e.id AND x.status = 0
        )
    ORDER BY e.published_at
    LIMIT $2::bigint
    FOR UPDATE SKIP LOCKED
))
