-- skip_task: a step that was not scheduled yet is passed when it is reached. All tokens of the run
-- and its row are locked; their new rev sends whoever decides from memory the slow way.
-- $1 workflow id, $2 reference, $3 task type, $4 input, $5 output
WITH w AS (
    UPDATE {schema}.workflows SET replays = true WHERE id = $1::uuid RETURNING id, epoch
),
t AS (
    UPDATE {schema}.open_tasks SET rev = rev + 1 WHERE workflow_id = $1::uuid
)
INSERT INTO {schema}.task_history (
    workflow_id, reference_name, epoch, attempt, status, seq, queue, poll_count, input, output,
    scheduled_at
)
SELECT id, $2::text, epoch, 0, 2, 0, $3::text, 0, $4::jsonb, $5::jsonb, statement_timestamp()
FROM w
