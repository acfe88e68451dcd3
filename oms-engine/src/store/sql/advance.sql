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
--         long nothing need be heard of it), time of all attempts in ms, set aside, reason, input
--         (null = worked out again), output, detail, remaining (of a container), the container it
--         stands in by its number among these (null = that of the source, negative = the id of an
--         open one, 0 = none)
-- $35 holder of what is leased here (0 = nothing is: what falls to 0 becomes ready)
-- $36 queues to claim from, $37 how many of each; $38, $39 a priority and the id where it begins in
--         each: what is ready before that is not looked at (see ClaimFrom)
--
-- Out: one row of kind w with the tokens that were ended (missing = lost, stale or paused) and, as
-- lists side by side, the numbers of the scheduled tasks that were opened, their tokens, containers
-- and due times; a = a container that fell to 0; c = claimed, with when it was scheduled for when it
-- expires.
-- What waits to be ended from outside has its type as its queue, and is due when its time is up; so
-- is a WAIT whose due time comes after that.
-- An opened task of the source's own reference, or of that after which a decide token goes on, is
-- a retry: it keeps the source's expiry.
-- coalesce keeps the partial index on holder out of the fence: with statistics from a time when
-- nothing was leased the planner would prefer it to the primary key.
-- Lists are taken apart in the target list, where nothing is stored of each apart.
WITH u AS MATERIALIZED (
    SELECT unnest($1::bigint[]) AS id, unnest($2::int[]) AS rev, unnest($3::bigint[]) AS holder,
        unnest($4::smallint[]) AS status, unnest($5::jsonb[]) AS input,
        unnest($6::jsonb[]) AS output, unnest($7::text[]) AS worker, unnest($8::text[]) AS reason,
        unnest($9::smallint[]) AS ends, unnest($10::jsonb[]) AS run_output,
        unnest($11::text[]) AS run_reason, unnest($12::text[]) AS failed_task,
        unnest($13::bool[]) AS arrives, unnest($14::jsonb[]) AS note,
        unnest($15::jsonb[]) AS variables
),
d AS (
    DELETE FROM {schema}.open_tasks t
    USING u
    WHERE t.id BETWEEN u.id AND u.id AND coalesce(t.holder, 0) = u.holder AND t.rev = u.rev AND NOT t.paused
    RETURNING t.id, t.workflow_id, t.reference_name, t.epoch, t.attempt, t.seq,
        coalesce(t.task_type, t.queue) AS queue, t.rev, t.priority, t.scope, t.poll_count,
        t.scheduled_at, t.started_at, t.expires_at, u.status, coalesce(u.input, t.input) AS input,
        u.output, u.worker, u.reason, u.ends, u.run_output, u.run_reason, u.failed_task, u.arrives,
        u.note, u.variables
),
n AS MATERIALIZED (
    SELECT x.*,
        least(
            coalesce(x.due, statement_timestamp() + CASE x.state
                WHEN 0 THEN x.poll_timeout_ms
                WHEN 1 THEN x.timeout_ms
                ELSE x.delay_ms
            END * interval '1 millisecond'),
            CASE WHEN x.due IS NOT NULL
                THEN statement_timestamp() + x.timeout_ms * interval '1 millisecond' END,
            x.expiry
        ) AS due_at
    FROM (
        SELECT o.*, d.workflow_id, d.epoch, d.rev, d.priority, d.scope,
            CASE WHEN o.ref = coalesce(nullif(d.reference_name, ''), d.input->>'after')
                THEN d.expires_at
                ELSE statement_timestamp() + o.total_ms * interval '1 millisecond'
            END AS expiry
        FROM (
            SELECT l.*, nextval('{schema}.task_seqs') AS seq, nextval('{schema}.token_ids') AS id
            FROM (
                SELECT generate_subscripts($16::bigint[], 1) AS ord, unnest($16::bigint[]) AS src,
                    unnest($17::text[]) AS ref, unnest($18::smallint[]) AS attempt,
                    unnest($19::text[]) AS queue, unnest($20::text[]) AS task_type,
                    unnest($21::smallint[]) AS state, unnest($22::smallint[]) AS status,
                    unnest($23::bigint[]) AS delay_ms, unnest($24::timestamptz[]) AS due,
                    unnest($25::bigint[]) AS timeout_ms, unnest($26::bigint[]) AS poll_timeout_ms,
                    unnest($27::bigint[]) AS total_ms, unnest($28::smallint[]) AS set_aside,
                    unnest($29::text[]) AS reason, unnest($30::jsonb[]) AS input,
                    unnest($31::jsonb[]) AS output, unnest($32::jsonb[]) AS detail,
                    unnest($33::int[]) AS remaining, unnest($34::bigint[]) AS container
            ) l
        ) o
        JOIN d ON d.id = o.src
        ORDER BY o.ord
    ) x
),
-- By number, for those who look their container up: a join would compare each with each, since the
-- planner expects few. Those of a source that is lost are missing.
ids AS MATERIALIZED (
    SELECT array_agg(n.id ORDER BY g.ord) AS by_number
    FROM generate_subscripts($16::bigint[], 1) AS g(ord)
    LEFT JOIN n ON n.ord = g.ord
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
        x.task_type, x.state, x.rev, x.priority,
        CASE WHEN x.container IS NULL THEN x.scope
            WHEN x.container > 0 THEN ((SELECT by_number FROM ids))[x.container]
            ELSE nullif(-x.container, 0) END,
        x.remaining,
        CASE WHEN x.state = 1 THEN $35::bigint END,
        x.set_aside,
        CASE WHEN x.state = 1 THEN 1 ELSE 0 END,
        CASE WHEN x.state = 1 OR (x.task_type IS NOT NULL AND x.state > 1
                AND (x.delay_ms IS NULL OR x.queue = x.task_type))
            THEN statement_timestamp() END,
        x.due_at, x.expiry, x.timeout_ms, x.poll_timeout_ms, x.reason, x.input, x.output, x.detail
    FROM n x
    WHERE x.status IS NULL
    ORDER BY x.ord
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
        AND w.id BETWEEN d.workflow_id AND d.workflow_id AND w.status = 0
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
    JOIN {schema}.open_tasks j ON j.id BETWEEN x.target AND x.target AND j.state = 3
    ORDER BY x.target
    FOR UPDATE OF j
),
a AS (
    UPDATE {schema}.open_tasks j
    SET remaining = j.remaining - k.n,
        output = coalesce(k.note, j.output),
        state = CASE WHEN j.remaining > k.n THEN 3 WHEN $35::bigint = 0 THEN 0 ELSE 1 END,
        holder = CASE WHEN j.remaining = k.n AND $35::bigint <> 0 THEN $35::bigint END
    FROM k
    WHERE j.id BETWEEN k.id AND k.id
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
        -- OFFSET 0: else each list is worked out wherever it is named.
        SELECT unnest(higher.ids || same.ids || lower.ids)
        FROM unnest($36::text[], $37::int[], $38::smallint[], $39::bigint[])
            AS q(queue, free, priority, floor)
        CROSS JOIN LATERAL (SELECT ARRAY(
            SELECT r.id
            FROM {schema}.open_tasks r
            WHERE r.state = 0 AND r.queue = q.queue AND r.priority > q.priority
            ORDER BY r.priority DESC, r.id
            LIMIT q.free
            FOR UPDATE SKIP LOCKED
        ) AS ids OFFSET 0) higher
        CROSS JOIN LATERAL (SELECT ARRAY(
            SELECT r.id
            FROM {schema}.open_tasks r
            WHERE r.state = 0 AND r.queue = q.queue AND r.priority = q.priority AND r.id >= q.floor
            ORDER BY r.id
            LIMIT q.free - cardinality(higher.ids)
            FOR UPDATE SKIP LOCKED
        ) AS ids OFFSET 0) same
        CROSS JOIN LATERAL (SELECT ARRAY(
            SELECT r.id
            FROM {schema}.open_tasks r
            WHERE r.state = 0 AND r.queue = q.queue AND r.priority < q.priority
            ORDER BY r.priority DESC, r.id
            LIMIT q.free - cardinality(higher.ids) - cardinality(same.ids)
            FOR UPDATE SKIP LOCKED
        ) AS ids OFFSET 0) lower
        -- A process that was taken for dead and wakes again must not take anything.
        WHERE EXISTS (
            SELECT FROM {schema}.holders h
            JOIN {schema}.sessions o ON o.id BETWEEN h.session_id AND h.session_id
            WHERE h.id = $35::bigint AND o.dead_at IS NULL
        )
    ))
    RETURNING t.id, t.workflow_id, t.reference_name, t.epoch, t.attempt, t.queue, t.state, t.rev,
        t.priority, t.paused, t.set_aside, t.poll_count, t.started_at, t.due_at,
        t.scheduled_at, t.input, t.detail, t.scope
)
SELECT 'w'::"char" AS kind, NULL::bigint AS id, NULL::uuid AS workflow_id,
    NULL::text AS reference_name, NULL::smallint AS epoch, NULL::smallint AS attempt,
    NULL::text AS queue, NULL::smallint AS state, NULL::int AS rev, NULL::smallint AS priority,
    NULL::bool AS paused, NULL::smallint AS set_aside, NULL::int AS poll_count,
    statement_timestamp() AS started_at, NULL::timestamptz AS due_at,
    NULL::timestamptz AS expires_at, NULL::jsonb AS input, NULL::jsonb AS detail,
    NULL::bigint AS scope,
    (
        SELECT array_agg(d.id)
        FROM d
        WHERE (SELECT count(*) FROM e)
                = (SELECT count(*) FROM d x WHERE x.ends IS NOT NULL OR x.variables IS NOT NULL)
            OR {schema}.broken_invariant('end of a workflow that is not running')
    ) AS ended,
    array_agg(n.ord) AS numbers, array_agg(n.id) AS tokens,
    array_agg(
        CASE WHEN n.container IS NULL THEN n.scope
            WHEN n.container > 0 THEN ((SELECT by_number FROM ids))[n.container]
            ELSE nullif(-n.container, 0) END
    ) AS scopes,
    array_agg(n.due_at) AS due
FROM n
WHERE n.status IS NULL
UNION ALL
SELECT 'a', a.*, NULL, NULL, NULL, NULL, NULL FROM a WHERE state < 2
UNION ALL
SELECT 'c', c.*, NULL, NULL, NULL, NULL, NULL FROM c
