-- begin_undo: a run's end is settled, and what it did is undone before it is written. Its row and
-- all its tokens are locked; its own time counts no more.
-- $1 workflow id, $2 output, $3 reason, $4 failed task, $5 how it ends
UPDATE {schema}.workflows
SET status = 0, output = $2::jsonb, reason = $3::text, failed_task = $4::text, undo = $5::jsonb,
    deadline = NULL
WHERE id = $1::uuid AND status IN (0, 1)
RETURNING id
