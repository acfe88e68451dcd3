-- load_open_tasks: the open tasks of one run, in order. $1 workflow id.
SELECT id, workflow_id, reference_name, epoch, attempt, seq, queue, state, paused, rev, priority,
    set_aside, poll_count, scheduled_at, started_at, due_at, expires_at, worker, reason, input, output,
    detail, scope, task_type, remaining
FROM {schema}.open_tasks
WHERE workflow_id = $1::uuid
ORDER BY seq
