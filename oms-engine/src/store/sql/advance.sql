-- advance: the hot statement. Ends attempts, appends their history, opens what follows, counts
-- containers down, ends runs, and claims ready tasks, for many runs in one statement.
--
-- $1..$14 ended attempts: token id, rev, holder (0 = none), status, input (null = the token's),
--         output, worker, reason, end of the run (null = goes on), the run's output, its reason,
--         the failed task's id, whether it arrives at its container, what it tells that
-- $15 jsonb[] variables set (null = none)
-- $16..$34 scheduled tasks: token id of the source, reference, attempt, queue, type (null = the
--         queue's name), state, status (not null = it has ended already), delay in ms (null =
--         none), due time (null = none), time-out in ms, poll time-out in ms (of a WAIT or HUMAN: how
--         long nothing need be heard of it), time of all attempts in ms, set aside, reason, input (null = worked out again), output, detail, remaining (of
--         a container), the number of the container it stands in among its source's (null = that of
--         the source, negative = the id of an open one, 0 = none)
-- $35 holder of what is leased here (0 = nothing is: what falls to 0 becomes ready)
-- $36 queues to claim from, $37 how many of each
--
-- Out: kind d = ended, s = opened, a = a container that fell to 0, c = claimed; d rows missing =
-- lost, stale or paused.
-- What waits to be ended from outside has its type as its queue, and is due when its time is up; so
-- is a WAIT whose due time comes after that.
-- An opened task of the source's own reference, or of that after which a decide token goes on, is
-- a retry: it keeps the source's expiry.
-- coalesce keeps the partial index on holder out of the fence: with statistics from a time when
-- nothing was leased the planner would prefer it to the primary key.
WITH u AS MATERIALIZED (
    SELECT *
    FROM unnest(
        $1::bigint[], $2::int[], $3::bigint[], $4::smallint[], $5::jsonb[], $6::jsonb[],
        $7::text[], $8::text[], $9::smallint[], $10::jsonb[], $11::text[], $12::text[],
        $13::bool[], $14::jsonb[], $15::jsonb[]
    ) AS u(id, rev, holder, status, input, output, worker, reason, ends, run_output, run_reason,
           failed_task, arrives, note, variables)
),
d AS (
    DELETE FROM {schema}.open_tasks t
    USING u
    WHERE t.id = u.id AND coalesce(t.holder, 0) = u.holder AND t.rev = u.rev AND NOT t.paused
    RETURNING t.id, t.workflow_id, t.reference_name, t.epoch, t.attempt, t.seq,
        coalesce(t.task_type, t.queue) AS queue, t.rev, t.priority, t.scope, t.poll_count,
        t.scheduled_at, t.started_at, t.expires_at, u.status, coalesce(u.input, t.input) AS input,
        u.output, u.worker, u.reason, u.ends, u.run_output, u.run_reason, u.failed_task, u.arrives,
        u.note, u.variables
),
n AS MATERIALIZED (
    SELECT x.*, nextval('{schema}.task_seqs') AS seq, nextval('{schema}.token_ids') AS id
    FROM (
        SELECT n.*, d.workflow_id, d.epoch, d.rev, d.priority, d.scope,
            CASE WHEN n.ref = coalesce(nullif(d.reference_name, ''), d.input->>'after')
                THEN d.expires_at
                ELSE statement_timestamp() + n.total_ms * interval '1 millisecond'
            END AS expiry,
            row_number() OVER (ORDER BY n.ord) AS rank,
            row_number() OVER (PARTITION BY n.src ORDER BY n.ord) AS own
        FROM unnest(
            $16::bigint[], $17::text[], $18::smallint[], $19::text[], $20::text[], $21::smallint[],
            $22::smallint[], $23::bigint[], $24::timestamptz[], $25::bigint[], $26::bigint[],
            $27::bigint[], $28::smallint[], $29::text[], $30::jsonb[], $31::jsonb[], $32::jsonb[],
            $33::int[], $34::bigint[]
        ) WITH ORDINALITY AS n(src, ref, attempt, queue, task_type, state, status, delay_ms, due,
                               timeout_ms, poll_timeout_ms, total_ms, set_aside, reason, input,
                               output, detail, remaining, container, ord)
        JOIN d ON d.id = n.src
        ORDER BY n.ord
    ) x
),
-- By rank: a join would compare each with each, since the planner expects few. The rows of a source
-- stand together, and those of one that is lost are missing.
ids AS MATERIALIZED (
    SELECT array_agg(id ORDER BY ord) AS by_rank FROM n
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
    UNION ALL
    SELECT workflow_id, ref, epoch, attempt, status, seq, coalesce(task_type, queue), 0, input,
        output, NULL, reason, statement_timestamp(), statement_timestamp()
    FROM n
    WHERE status IS NOT NULL
),
s AS (
    INSERT INTO {schema}.open_tasks (
        id, seq, workflow_id, reference_name, epoch, attempt, queue, task_type, state, rev,
        priority, scope, remaining, holder, set_aside, poll_count, started_at, due_at, expires_at,
        timeout_ms, poll_timeout_ms, reason, input, output, detail
    )
    SELECT x.id, x.seq, x.workflow_id, x.ref, x.epoch, x.attempt,
        CASE WHEN x.due >= statement_timestamp() + x.timeout_ms * interval '1 millisecond'
            THEN x.task_type ELSE x.queue END,
        x.task_type, x.state,
        x.rev, x.priority,
        CASE WHEN x.container IS NULL THEN x.scope
            WHEN x.container > 0 THEN ((SELECT by_rank FROM ids))[x.rank - x.own + x.container]
            ELSE nullif(-x.container, 0) END,
        x.remaining,
        CASE WHEN x.state = 1 THEN $35::bigint END,
        x.set_aside,
        CASE WHEN x.state = 1 THEN 1 ELSE 0 END,
        CASE WHEN x.state = 1 OR (x.task_type IS NOT NULL AND x.state > 1
                AND (x.delay_ms IS NULL OR x.queue = x.task_type))
            THEN statement_timestamp() END,
        least(
            coalesce(x.due, statement_timestamp() + CASE x.state
                WHEN 0 THEN x.poll_timeout_ms
                WHEN 1 THEN x.timeout_ms
                ELSE x.delay_ms
            END * interval '1 millisecond'),
            CASE WHEN x.due IS NOT NULL
                THEN statement_timestamp() + x.timeout_ms * interval '1 millisecond' END,
            x.expiry
        ),
        x.expiry, x.timeout_ms, x.poll_timeout_ms, x.reason, x.input, x.output, x.detail
    FROM n x
    WHERE x.status IS NULL
    ORDER BY x.ord
    RETURNING id, workflow_id, reference_name, epoch, attempt, queue, state, rev, priority, paused,
        set_aside, poll_count, started_at, due_at, expires_at, NULL::jsonb AS input,
        NULL::jsonb AS detail, scope
),
e AS (
    UPDATE {schema}.workflows w
    SET status = coalesce(d.ends, w.status),
        output = CASE WHEN d.ends IS NULL THEN w.output ELSE d.run_output END,
        reason = CASE WHEN d.ends IS NULL THEN w.reason ELSE d.run_reason END,
        failed_task = CASE WHEN d.ends IS NULL THEN w.failed_task ELSE d.failed_task END,
        variables = CASE WHEN d.variables IS NULL THEN w.variables
            ELSE w.variables || d.variables END,
        ended_at = CASE WHEN d.ends IS NULL THEN w.ended_at ELSE statement_timestamp() END
    FROM d
    WHERE (d.ends IS NOT NULL OR d.variables IS NOT NULL)
        AND w.id = d.workflow_id AND w.status = 0
    RETURNING w.id, CASE WHEN d.ends IS NOT NULL THEN w.parent_token END AS parent_token
),
k AS MATERIALIZED (
    SELECT j.id, x.n, x.note
    FROM (
        SELECT target, count(*)::int AS n, (array_agg(note))[1] AS note
        FROM (
            SELECT scope AS target, note FROM d WHERE arrives
            UNION ALL
            SELECT parent_token, NULL FROM e WHERE parent_token IS NOT NULL
        ) t
        GROUP BY target
    ) x
    JOIN {schema}.open_tasks j ON j.id = x.target AND j.state = 3
    ORDER BY j.id
    FOR UPDATE OF j
),
a AS (
    UPDATE {schema}.open_tasks j
    SET remaining = j.remaining - k.n,
        output = coalesce(k.note, j.output),
        state = CASE WHEN j.remaining > k.n THEN 3 WHEN $35::bigint = 0 THEN 0 ELSE 1 END,
        holder = CASE WHEN j.remaining = k.n AND $35::bigint <> 0 THEN $35::bigint END
    FROM k
    WHERE j.id = k.id
    RETURNING j.id, j.workflow_id, j.reference_name, j.epoch, j.attempt, j.queue, j.state, j.rev,
        j.priority, j.paused, j.set_aside, j.poll_count, j.started_at, j.due_at, j.expires_at,
        NULL::jsonb AS input, NULL::jsonb AS detail, j.scope
),
c AS (
    UPDATE {schema}.open_tasks t
    SET state = 1,
        holder = $35::bigint,
        poll_count = t.poll_count + 1,
        started_at = coalesce(t.started_at, statement_timestamp()),
        due_at = least(
            coalesce(t.started_at, statement_timestamp()) + t.timeout_ms * interval '1 millisecond',
            t.expires_at
        )
    WHERE t.id = ANY (ARRAY(
        SELECT x.id
        FROM unnest($36::text[], $37::int[]) AS q(queue, free)
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
            WHERE h.id = $35::bigint AND o.dead_at IS NULL
        )
    ))
    RETURNING t.id, t.workflow_id, t.reference_name, t.epoch, t.attempt, t.queue, t.state, t.rev,
        t.priority, t.paused, t.set_aside, t.poll_count, t.started_at, t.due_at, t.expires_at,
        t.input, t.detail, t.scope
)
SELECT 'd'::"char" AS kind, id, workflow_id, reference_name, epoch, attempt, queue, 1::smallint AS state,
    rev, priority, false AS paused, 0::smallint AS set_aside, poll_count, started_at,
    NULL::timestamptz AS due_at, expires_at, NULL::jsonb AS input, NULL::jsonb AS detail,
    NULL::bigint AS scope
FROM d
WHERE (SELECT count(*) FROM e)
        = (SELECT count(*) FROM d x WHERE x.ends IS NOT NULL OR x.variables IS NOT NULL)
    OR {schema}.broken_invariant('end of a workflow that is not running')
UNION ALL SELECT 's', * FROM s
UNION ALL SELECT 'a', * FROM a WHERE state < 2
UNION ALL SELECT 'c', * FROM c
