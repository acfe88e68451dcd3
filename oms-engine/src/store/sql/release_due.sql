-- release_due: delayed tasks whose time has come go back to their queue; not those that wait to be
-- ended from outside (return_tasks). $1 how many at most.
-- Out: queues.
UPDATE {schema}.open_tasks t
SET id = nextval('{schema}.token_ids'),
    state = 0,
    due_at = least(
        statement_timestamp() + t.poll_timeout_ms * interval '1 millisecond', t.expires_at
    )
WHERE t.id = ANY (ARRAY(
    SELECT id FROM {schema}.open_tasks
    WHERE due_at <= statement_timestamp() AND state = 2 AND task_type IS DISTINCT FROM queue
        AND (expires_at IS NULL OR expires_at > statement_timestamp())
    ORDER BY due_at
    LIMIT $1::bigint
    FOR UPDATE SKIP LOCKED
))
RETURNING t.queue
