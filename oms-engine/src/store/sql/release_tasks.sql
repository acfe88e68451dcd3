-- release_tasks: leased tasks that did not start here go back to their queue at once.
-- $1 token ids, $2 holder. Out: queues.
UPDATE {schema}.open_tasks t
SET id = nextval('{schema}.token_ids'),
    state = 0,
    holder = NULL,
    due_at = least(
        statement_timestamp() + t.poll_timeout_ms * interval '1 millisecond', t.expires_at
    )
WHERE t.id = ANY ($1::bigint[]) AND coalesce(t.holder, 0) = $2::bigint
RETURNING t.queue
