-- claim_limited: claims tasks that have a limit, as many as it leaves room for. Their locks are
-- held, and were had by an earlier statement.
-- $1 holder, $2 queues, $3 the task definition of each, $4 how many of each at most
--
-- Out: kind c = claimed; l = one of the names: how many more there is room for (null = any
-- number), and in how many ms its rate allows the next, where that is what is used up.
WITH q AS MATERIALIZED (
    SELECT * FROM unnest($2::text[], $3::text[], $4::int[]) AS q(queue, name, free)
),
-- A subquery of one row: a join could be planned over all open tasks.
p AS MATERIALIZED (
    SELECT p.token_id, p.name,
        (SELECT t.state = 1 FROM {schema}.open_tasks t WHERE t.id = p.token_id) AS leased
    FROM {schema}.task_permits p
    WHERE p.name = ANY ($3::text[])
),
swept AS (
    DELETE FROM {schema}.task_permits
    WHERE token_id = ANY (ARRAY(SELECT token_id FROM p WHERE leased IS NOT TRUE))
),
room AS MATERIALIZED (
    SELECT n.name, l.concurrent, l.rate, l.rate_ms, r.first_end,
        l.concurrent - (SELECT count(*) FROM p WHERE p.name = n.name AND p.leased) AS at_once,
        l.rate - r.handed_out AS in_window
    FROM (SELECT DISTINCT name FROM q) n
    LEFT JOIN {schema}.task_limits l ON l.name = n.name
    LEFT JOIN LATERAL (
        SELECT coalesce(sum(s.handed_out), 0)::bigint AS handed_out, min(s.step_end) AS first_end
        FROM {schema}.rate_steps s
        WHERE s.name = l.name
            AND s.step_end > statement_timestamp() - l.rate_ms * interval '1 millisecond'
    ) r ON l.rate IS NOT NULL
),
picked AS MATERIALIZED (
    SELECT y.id, y.name
    FROM (
        SELECT x.id, q.name, least(m.at_once, m.in_window) AS free,
            row_number() OVER (PARTITION BY q.name ORDER BY x.priority DESC, x.id) AS n
        FROM q
        JOIN room m ON m.name = q.name
        CROSS JOIN LATERAL (
            SELECT t.id, t.priority
            FROM {schema}.open_tasks t
            WHERE t.state = 0 AND t.queue = q.queue
            ORDER BY t.priority DESC, t.id
            LIMIT greatest(least(q.free, m.at_once, m.in_window), 0)
            FOR UPDATE SKIP LOCKED
        ) x
        -- A process that was taken for dead and wakes again must not take anything.
        WHERE EXISTS (
            SELECT FROM {schema}.holders h JOIN {schema}.sessions o ON o.id = h.session_id
            WHERE h.id = $1::bigint AND o.dead_at IS NULL
        )
    ) y
    WHERE y.free IS NULL OR y.n <= y.free
),
c AS (
    UPDATE {schema}.open_tasks t
    SET state = 1,
        holder = $1::bigint,
        poll_count = t.poll_count + 1,
        started_at = coalesce(t.started_at, statement_timestamp()),
        due_at = least(
            coalesce(t.started_at, statement_timestamp()) + t.timeout_ms * interval '1 millisecond',
            t.expires_at
        )
    WHERE t.id = ANY (ARRAY(SELECT id FROM picked))
    RETURNING t.id, t.workflow_id, t.reference_name, t.epoch, t.attempt, t.queue, t.state, t.rev,
        t.priority, t.paused, t.set_aside, t.poll_count, t.started_at, t.due_at,
        t.scheduled_at, t.input, t.detail, t.scope
),
permitted AS (
    INSERT INTO {schema}.task_permits (token_id, name)
    SELECT k.id, k.name FROM picked k JOIN room m ON m.name = k.name WHERE m.concurrent IS NOT NULL
),
-- The end of the step that a hand-out of now falls in.
now_step AS MATERIALIZED (
    SELECT m.name, m.rate_ms, x.taken,
        CASE WHEN m.rate IS NOT NULL THEN to_timestamp(
            (floor(extract(epoch FROM statement_timestamp()) * 1000 / s.ms) + 1) * s.ms / 1000
        ) END AS step_end
    FROM room m
    CROSS JOIN LATERAL (SELECT greatest(m.rate_ms / 100, 1)::float8 AS ms) s
    CROSS JOIN LATERAL (SELECT count(*)::int AS taken FROM picked k WHERE k.name = m.name) x
),
forgotten AS (
    DELETE FROM {schema}.rate_steps s
    USING now_step n
    WHERE s.name = n.name
        AND s.step_end <= statement_timestamp() - n.rate_ms * interval '1 millisecond'
),
counted AS (
    INSERT INTO {schema}.rate_steps AS s (name, step_end, handed_out)
    SELECT name, step_end, taken FROM now_step WHERE taken > 0 AND step_end IS NOT NULL
    ON CONFLICT (name, step_end) DO UPDATE SET handed_out = s.handed_out + excluded.handed_out
)
SELECT 'c'::"char" AS kind, c.*, NULL::bigint AS room, NULL::bigint AS opens_ms
FROM c
UNION ALL
SELECT 'l', NULL, NULL, m.name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL,
    least(m.at_once, m.in_window) - n.taken,
    CASE WHEN m.in_window <= n.taken THEN ceil(extract(
        epoch FROM least(m.first_end, n.step_end) - statement_timestamp()
    ) * 1000)::bigint + m.rate_ms END
FROM room m
JOIN now_step n ON n.name = m.name
