-- open_tasks: opens tasks of one run outside the hot statement (operators' actions).
-- $1 workflow id, $2 epoch, $3 priority; arrays: $4 reference, $5 attempt, $6 queue, $7 state,
-- $8 delay in ms, $9 time-out in ms, $10 poll time-out in ms, $11 time of all attempts in ms,
-- $12 set aside, $13 reason, $14 input
INSERT INTO {schema}.open_tasks (
    workflow_id, reference_name, epoch, attempt, queue, state, priority, set_aside, due_at,
    expires_at, timeout_ms, poll_timeout_ms, reason, input
)
SELECT $1::uuid, n.ref, $2::smallint, n.attempt, n.queue, n.state, $3::smallint, n.set_aside,
    least(
        statement_timestamp() + CASE n.state WHEN 0 THEN n.poll_timeout_ms ELSE n.delay_ms END
            * interval '1 millisecond',
        statement_timestamp() + n.total_ms * interval '1 millisecond'
    ),
    statement_timestamp() + n.total_ms * interval '1 millisecond',
    n.timeout_ms, n.poll_timeout_ms, n.reason, n.input
FROM unnest(
    $4::text[], $5::smallint[], $6::text[], $7::smallint[], $8::bigint[], $9::bigint[],
    $10::bigint[], $11::bigint[], $12::smallint[], $13::text[], $14::jsonb[]
) WITH ORDINALITY AS n(ref, attempt, queue, state, delay_ms, timeout_ms, poll_timeout_ms, total_ms,
                       set_aside, reason, input, ord)
ORDER BY n.ord
