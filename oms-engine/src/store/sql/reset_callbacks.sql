-- reset_callbacks: tasks of a run that wait for a delay before a worker gets them are ready now.
-- $1 workflow id, all its tokens locked. Out: queues.
UPDATE {schema}.open_tasks
SET id = nextval('{schema}.token_ids'),
    state = 0,
    due_at = least(statement_timestamp() + poll_timeout_ms * interval '1 millisecond', expires_at)
WHERE workflow_id = $1::uuid AND state = 2 AND task_type IS NULL AND reference_name <> ''
    AND due_at IS NOT NULL
RETURNING queue, state
