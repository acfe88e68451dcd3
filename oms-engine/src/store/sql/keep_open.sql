-- keep_open: a task that was done stays open with what it gave, until somebody ends it.
-- $1 token id (locked), $2 output
UPDATE {schema}.open_tasks
SET state = 2, holder = NULL, remaining = NULL, output = $2::jsonb, due_at = expires_at
WHERE id = $1::bigint
