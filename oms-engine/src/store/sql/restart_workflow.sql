-- restart_workflow: a new epoch that hides all history so far; the run's row is locked.
-- $1 workflow id, $2 definition id, $3 version, $4 variables, $5 time-out in ms
UPDATE {schema}.workflows w
SET status = 0, output = NULL, reason = NULL, failed_task = NULL, failure_workflow_id = NULL,
    ended_at = NULL, undo = NULL, last_retried_at = NULL, replays = false, resumes = false, created_at = statement_timestamp(),
    brought_back_at = statement_timestamp(),
    epoch = epoch + 1,
    cuts = coalesce(cuts, '[]') || jsonb_build_object('epoch', epoch + 1, 'cut', 0,
        'left', undo->'left'),
    definition_id = $2::bigint, version = $3::int, variables = $4::jsonb,
    deadline = statement_timestamp() + $5::bigint * interval '1 millisecond',
    parent_token = (SELECT t.id FROM {schema}.open_tasks t WHERE t.id = w.parent_token)
WHERE w.id = $1::uuid
RETURNING epoch
