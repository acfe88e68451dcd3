-- return_tasks: attempts that are not done yet go back to their queue (IN_PROGRESS), or wait to be
-- ended from outside: these have a type of their own, as a WAIT has, and their time-out goes on.
-- $1 ids, $2 holders, $3 delays in ms (null = it waits), $4 outputs, $5 workers,
-- $6 reasons
-- The rev is not asked for: nothing is decided, and a run that was paused meanwhile stays so.
-- Out: the ids asked for that were theirs, with the queue.
UPDATE {schema}.open_tasks t
SET id = nextval('{schema}.token_ids'),
    state = CASE WHEN x.delay_ms = 0 THEN 0 ELSE 2 END,
    task_type = CASE WHEN x.delay_ms IS NULL THEN t.queue ELSE t.task_type END,
    holder = NULL,
    output = coalesce(x.output, t.output),
    worker = x.worker,
    reason = x.reason,
    due_at = least(
        CASE WHEN x.delay_ms IS NULL THEN t.started_at ELSE statement_timestamp() END
            + CASE WHEN x.delay_ms > 0 THEN x.delay_ms
                WHEN x.delay_ms = 0 THEN t.poll_timeout_ms
                ELSE t.timeout_ms
            END * interval '1 millisecond',
        t.expires_at
    )
FROM (
    SELECT o.id AS old_id, u.*
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::jsonb[], $5::text[],
        $6::text[]) AS u(id, holder, delay_ms, output, worker, reason)
    JOIN {schema}.open_tasks o ON o.id BETWEEN u.id AND u.id AND coalesce(o.holder, 0) = u.holder
    ORDER BY u.id
    FOR UPDATE OF o
) x
WHERE t.id BETWEEN x.old_id AND x.old_id
RETURNING x.old_id, t.queue, t.state
