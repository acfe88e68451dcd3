-- disarm: a time-out that only alerts has been told; it is not told again. $1 token id, $2 rev.
UPDATE {schema}.open_tasks
SET due_at = CASE WHEN expires_at > statement_timestamp() THEN expires_at END,
    expires_at = CASE WHEN expires_at > statement_timestamp() THEN expires_at END
WHERE id = $1::bigint AND rev = $2::int
