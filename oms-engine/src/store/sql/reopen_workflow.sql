-- reopen_workflow: an ended run goes on where it ended; its row is locked. $1 workflow id,
-- $2 time-out in ms counted anew (null = none), $3 whether it goes on with sub-workflows that ended
-- badly, $4 the token of the parent's task that waits for it (null = as it is, if that is open)
UPDATE {schema}.workflows w
SET status = 0, output = NULL, reason = NULL, failed_task = NULL, ended_at = NULL,
    undo = NULL, replays = true, resumes = $3::bool, last_retried_at = statement_timestamp(),
    brought_back_at = statement_timestamp(),
    deadline = statement_timestamp() + $2::bigint * interval '1 millisecond',
    parent_token = coalesce(
        $4::bigint, (SELECT t.id FROM {schema}.open_tasks t WHERE t.id = w.parent_token)
    )
WHERE w.id = $1::uuid
