-- disarm: a time-out that only alerts has been told; it is not told again. What waits to be ended from
-- outside is still to be heard of. $1 token id, $2 rev.
UPDATE {schema}.open_tasks
SET due_at = least(
        CASE WHEN expires_at > statement_timestamp() THEN expires_at END,
        CASE WHEN queue = task_type AND task_type IN ('WAIT', 'HUMAN')
            THEN statement_timestamp() + poll_timeout_ms * interval '1 millisecond' END
    ),
    timeout_ms = CASE WHEN queue = task_type THEN NULL ELSE timeout_ms END,
    expires_at = CASE WHEN expires_at > statement_timestamp() THEN expires_at END
WHERE id = $1::bigint AND rev = $2::int
