-- reopen_workflow: an operator's retry of an ended run, its row locked. $1 workflow id,
-- $2 time-out in ms counted anew (null = none)
UPDATE {schema}.workflows
SET status = 0, output = NULL, reason = NULL, failed_task = NULL, ended_at = NULL,
    replays = true, last_retried_at = statement_timestamp(),
    deadline = statement_timestamp() + $2::bigint * interval '1 millisecond'
WHERE id = $1::uuid
