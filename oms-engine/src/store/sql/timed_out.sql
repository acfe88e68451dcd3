-- timed_out: tasks whose time is up. $1 how many at most.
-- Out: the token, and which time it was: expired = of all attempts, else by state the poll
-- time-out (0) or the attempt's own (1, and what waits to be ended from outside).
SELECT id, workflow_id, reference_name, epoch, attempt, queue, state, rev, priority, paused,
    set_aside, poll_count, started_at, due_at, expires_at, input, detail, scope,
    coalesce(holder, 0) AS holder,
    coalesce(expires_at <= statement_timestamp(), false) AS expired, worker,
    coalesce(due_at <= statement_timestamp(), false) AS due,
    remaining, output
FROM {schema}.open_tasks
WHERE due_at <= statement_timestamp()
    AND (state IN (0, 1) OR task_type = queue OR expires_at <= statement_timestamp())
ORDER BY due_at
LIMIT $1::bigint
