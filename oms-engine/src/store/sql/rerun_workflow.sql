-- rerun_workflow: a new epoch that hides history from a task on; the run's row is locked.
-- $1 workflow id, $2 the task's seq, $3 when it was scheduled, $4 input (null = as it is),
-- $5 time-out in ms
UPDATE {schema}.workflows
SET status = 0, output = NULL, reason = NULL, failed_task = NULL, failure_workflow_id = NULL,
    ended_at = NULL, replays = true, last_retried_at = statement_timestamp(),
    epoch = epoch + 1,
    cuts = coalesce(cuts, '[]')
        || jsonb_build_object('epoch', epoch + 1, 'cut', $2::bigint, 'at', $3::timestamptz),
    input = coalesce($4::jsonb, input),
    deadline = statement_timestamp() + $5::bigint * interval '1 millisecond'
WHERE id = $1::uuid
RETURNING epoch
