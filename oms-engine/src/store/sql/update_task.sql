-- update_task: a task that waits has given something and waits on; how long nothing is heard of it
-- counts anew. $1 token id (locked), $2 output, $3 reason
UPDATE {schema}.open_tasks
SET output = $2::jsonb, reason = $3::text,
    due_at = CASE WHEN queue = task_type AND task_type IN ('WAIT', 'HUMAN')
        THEN least(
            started_at + timeout_ms * interval '1 millisecond',
            statement_timestamp() + poll_timeout_ms * interval '1 millisecond',
            expires_at
        )
        ELSE due_at END
WHERE id = $1::bigint
