-- release_holders: all leases of these holders go back to their queues. $1 holders. Out: queues.
-- The ids are read under lock first, so that rows are taken in one order. + 0: see lock_leaves.
UPDATE {schema}.open_tasks t
SET id = nextval('{schema}.token_ids'),
    state = 0,
    holder = NULL,
    due_at = least(
        statement_timestamp() + t.poll_timeout_ms * interval '1 millisecond', t.expires_at
    )
WHERE t.id = ANY (ARRAY(
    SELECT id FROM {schema}.open_tasks WHERE holder = ANY ($1::bigint[]) ORDER BY id + 0 FOR UPDATE
))
RETURNING t.queue
