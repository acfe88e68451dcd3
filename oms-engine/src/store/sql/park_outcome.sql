-- park_outcome: an attempt ended while its run is paused: it becomes history, and its token turns
-- into a parked decide token that nobody can claim. It keeps the end of the step's time for a
-- retry that may follow.
-- $1 token id (locked), $2 status, $3 input, $4 output, $5 worker, $6 reason, $7 what to decide
WITH d AS (
    DELETE FROM {schema}.open_tasks WHERE id = $1::bigint RETURNING *
),
f AS (
    INSERT INTO {schema}.task_history (
        workflow_id, reference_name, epoch, attempt, status, seq, queue, poll_count, input, output,
        worker, reason, scheduled_at, started_at
    )
    SELECT workflow_id, reference_name, epoch, attempt, $2::smallint, seq,
        coalesce(task_type, queue), poll_count, coalesce($3::jsonb, input), $4::jsonb, $5::text, $6::text, scheduled_at, started_at
    FROM d
    WHERE reference_name <> ''
)
INSERT INTO {schema}.open_tasks (
    workflow_id, reference_name, epoch, queue, state, paused, rev, priority, scope, expires_at, input,
    detail
)
SELECT workflow_id, '', epoch, '$system', 2, true, rev, priority, scope, expires_at, $7::jsonb,
    detail
FROM d
