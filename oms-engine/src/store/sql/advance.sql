-- advance: the hot statement. Ends attempts, appends their history, opens what follows, ends runs,
-- and claims ready tasks, for many runs in one statement.
--
-- $1..$11 ended attempts: token id, rev, holder (0 = none), status, input (null = the token's),
--         output, worker, reason, end of the run (null = goes on), the run's output, its reason
-- $12 text[] the failed task's id, for runs that end by a failure
-- $13..$23 opened tasks: token id of the source, reference, attempt, queue, state, delay in ms
--         (null = none), time-out in ms, poll time-out in ms, time of all attempts in ms,
--         set aside, reason
-- $24 jsonb[] inputs of the opened tasks (null = worked out again)
-- $25 holder of what is leased here; $26 queues to claim from, $27 how many of each
--
-- Out: kind d = ended, s = opened, c = claimed; d rows missing = lost, stale or paused.
-- An opened task of the source's own reference, or of that after which a decide token goes on, is
-- a retry: it keeps the source's expiry.
-- coalesce keeps the partial index on holder out of the fence: with statistics from a time when
-- nothing was leased the planner would prefer it to the primary key.
WITH u AS MATERIALIZED (
    SELECT *
    FROM unnest(
        $1::bigint[], $2::int[], $3::bigint[], $4::smallint[], $5::jsonb[], $6::jsonb[],
        $7::text[], $8::text[], $9::smallint[], $10::jsonb[], $11::text[], $12::text[]
    ) AS u(id, rev, holder, status, input, output, worker, reason, ends, run_output, run_reason,
           failed_task)
),
d AS (
    DELETE FROM {schema}.open_tasks t
    USING u
    WHERE t.id = u.id AND coalesce(t.holder, 0) = u.holder AND t.rev = u.rev AND NOT t.paused
    RETURNING t.id, t.workflow_id, t.reference_name, t.epoch, t.attempt, t.seq, t.queue, t.rev,
        t.priority, t.scope, t.poll_count, t.scheduled_at, t.started_at, t.expires_at,
        u.status, coalesce(u.input, t.input) AS input, u.output, u.worker, u.reason, u.ends,
        u.run_output, u.run_reason, u.failed_task
),
f AS (
    INSERT INTO {schema}.task_history (
        workflow_id, reference_name, epoch, attempt, status, seq, queue, poll_count, input, output,
        worker, reason, scheduled_at, started_at
    )
    SELECT workflow_id, reference_name, epoch, attempt, status, seq, queue, poll_count, input,
        output, worker, reason, scheduled_at, started_at
    FROM d
    WHERE reference_name <> ''
),
s AS (
    INSERT INTO {schema}.open_tasks (
        workflow_id, reference_name, epoch, attempt, queue, state, rev, priority, scope, holder,
        set_aside, poll_count, started_at, due_at, expires_at, timeout_ms, poll_timeout_ms, reason,
        input
    )
    SELECT x.workflow_id, x.ref, x.epoch, x.attempt, x.queue, x.state, x.rev, x.priority, x.scope,
        CASE WHEN x.state = 1 THEN $25::bigint END,
        x.set_aside,
        CASE WHEN x.state = 1 THEN 1 ELSE 0 END,
        CASE WHEN x.state = 1 THEN statement_timestamp() END,
        least(
            statement_timestamp() + CASE x.state
                WHEN 0 THEN x.poll_timeout_ms
                WHEN 1 THEN x.timeout_ms
                ELSE x.delay_ms
            END * interval '1 millisecond',
            x.expiry
        ),
        x.expiry, x.timeout_ms, x.poll_timeout_ms, x.reason, x.input
    FROM (
        SELECT n.*, d.workflow_id, d.epoch, d.rev, d.priority, d.scope,
            CASE WHEN n.ref = coalesce(nullif(d.reference_name, ''), d.input->>'after')
                THEN d.expires_at
                ELSE statement_timestamp() + n.total_ms * interval '1 millisecond'
            END AS expiry
        FROM unnest(
            $13::bigint[], $14::text[], $15::smallint[], $16::text[], $17::smallint[],
            $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[], $22::smallint[],
            $23::text[], $24::jsonb[]
        ) WITH ORDINALITY AS n(src, ref, attempt, queue, state, delay_ms, timeout_ms,
                               poll_timeout_ms, total_ms, set_aside, reason, input, ord)
        JOIN d ON d.id = n.src
        ORDER BY n.ord
    ) x
    RETURNING id, workflow_id, reference_name, epoch, attempt, queue, state, rev, priority, paused,
        set_aside, poll_count, started_at, due_at, expires_at, NULL::jsonb AS input
),
e AS (
    UPDATE {schema}.workflows w
    SET status = d.ends, output = d.run_output, reason = d.run_reason, failed_task = d.failed_task,
        ended_at = statement_timestamp()
    FROM d
    WHERE d.ends IS NOT NULL AND w.id = d.workflow_id AND w.status = 0
    RETURNING w.id
),
c AS (
    UPDATE {schema}.open_tasks t
    SET state = 1,
        holder = $25::bigint,
        poll_count = t.poll_count + 1,
        started_at = coalesce(t.started_at, statement_timestamp()),
        due_at = least(
            coalesce(t.started_at, statement_timestamp()) + t.timeout_ms * interval '1 millisecond',
            t.expires_at
        )
    WHERE t.id = ANY (ARRAY(
        SELECT x.id
        FROM unnest($26::text[], $27::int[]) AS q(queue, free)
        CROSS JOIN LATERAL (
            SELECT r.id
            FROM {schema}.open_tasks r
            WHERE r.state = 0 AND r.queue = q.queue
            ORDER BY r.priority DESC, r.id
            LIMIT q.free
            FOR UPDATE SKIP LOCKED
        ) x
        -- A process that was taken for dead and wakes again must not take anything.
        WHERE EXISTS (
            SELECT FROM {schema}.holders h JOIN {schema}.sessions o ON o.id = h.session_id
            WHERE h.id = $25::bigint AND o.dead_at IS NULL
        )
    ))
    RETURNING t.id, t.workflow_id, t.reference_name, t.epoch, t.attempt, t.queue, t.state, t.rev,
        t.priority, t.paused, t.set_aside, t.poll_count, t.started_at, t.due_at, t.expires_at,
        t.input
)
SELECT 'd'::"char" AS kind, id, workflow_id, reference_name, epoch, attempt, queue, 1::smallint AS state,
    rev, priority, false AS paused, 0::smallint AS set_aside, poll_count, started_at,
    NULL::timestamptz AS due_at, expires_at, NULL::jsonb AS input
FROM d
WHERE (SELECT count(*) FROM e) = (SELECT count(*) FROM d x WHERE x.ends IS NOT NULL)
    OR {schema}.broken_invariant('end of a workflow that is not running')
UNION ALL SELECT 's', * FROM s
UNION ALL SELECT 'c', * FROM c
