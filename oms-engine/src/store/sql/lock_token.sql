-- lock_token: locks one token, whatever its rev. $1 token id, $2 holder (0 = none).
SELECT id, workflow_id, reference_name, epoch, attempt, queue, state, rev, priority, paused,
    set_aside, poll_count, started_at, due_at, expires_at, input, detail, scope,
    coalesce(holder, 0) AS holder,
    coalesce(expires_at <= statement_timestamp(), false) AS expired, worker,
    coalesce(due_at <= statement_timestamp(), false) AS due,
    remaining, output
FROM {schema}.open_tasks
WHERE id = $1::bigint AND coalesce(holder, 0) = $2::bigint
FOR UPDATE
