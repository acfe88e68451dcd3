-- rerun_workflow: a new epoch that hides history from a task on; the run's row is locked.
-- $1 workflow id, $2 the task's seq, $3 when it was scheduled, $4 what the task is given and $5 its
-- name (null = nothing), $6 time-out in ms, $7 numbers of later tasks that stay
WITH w AS (
    UPDATE {schema}.workflows w
    SET status = 0, output = NULL, reason = NULL, failed_task = NULL, failure_workflow_id = NULL,
        ended_at = NULL, undo = NULL, replays = true, resumes = false, last_retried_at = statement_timestamp(),
        brought_back_at = statement_timestamp(),
        epoch = epoch + 1,
        cuts = coalesce(cuts, '[]') || jsonb_build_object(
            'epoch', epoch + 1, 'cut', $2::bigint, 'at', $3::timestamptz, 'from', $5::text,
            'input', $4::jsonb, 'left', undo->'left'
        ),
        deadline = statement_timestamp() + $6::bigint * interval '1 millisecond',
        parent_token = (SELECT t.id FROM {schema}.open_tasks t WHERE t.id = w.parent_token)
    WHERE w.id = $1::uuid
    RETURNING w.id, w.epoch
),
k AS (
    INSERT INTO {schema}.kept_tasks (workflow_id, epoch, seq)
    SELECT w.id, w.epoch, kept.seq FROM w CROSS JOIN (SELECT DISTINCT unnest($7::bigint[]) AS seq) kept
)
SELECT epoch FROM w
