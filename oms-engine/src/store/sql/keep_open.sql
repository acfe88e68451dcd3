-- keep_open: a task that was done stays open with what it gave, until somebody ends it or its time is
-- up. $1 token id (locked), $2 output
UPDATE {schema}.open_tasks
SET state = 2, holder = NULL, remaining = NULL, output = $2::jsonb, queue = task_type,
    started_at = coalesce(started_at, statement_timestamp()),
    due_at = least(
        coalesce(started_at, statement_timestamp()) + timeout_ms * interval '1 millisecond',
        expires_at
    )
WHERE id = $1::bigint
