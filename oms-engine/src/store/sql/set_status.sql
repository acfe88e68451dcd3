-- set_status: pause and resume. $1 workflow id (locked), $2 status, $3 time-out in ms counted anew
-- (null = leave it).
UPDATE {schema}.workflows
SET status = $2::smallint,
    last_retried_at = CASE WHEN $2::smallint = 0 THEN statement_timestamp() ELSE last_retried_at END,
    deadline = coalesce(statement_timestamp() + $3::bigint * interval '1 millisecond', deadline)
WHERE id = $1::uuid
