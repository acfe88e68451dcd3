-- lock_leaves: locks the leaves of a run in id order. $1 workflow id.
-- A statement does not see what a step committed while it waited: it is repeated until the same
-- ids come back. + 0 keeps the planner from walking all ids in order to spare itself a sort.
SELECT id, workflow_id, reference_name, epoch, attempt, queue, state, rev, priority, paused,
    set_aside, poll_count, started_at, due_at, expires_at, input, detail, scope,
    coalesce(holder, 0) AS holder,
    false AS expired, worker,
    coalesce(due_at <= statement_timestamp(), false) AS due,
    remaining, output
FROM {schema}.open_tasks
WHERE workflow_id = $1::uuid AND state <> 3
ORDER BY id + 0
FOR UPDATE
