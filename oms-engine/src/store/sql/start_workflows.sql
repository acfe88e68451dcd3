-- start_workflows: inserts runs with their first task each. Sorted by key, so that two batches
-- that share keys wait for each other in one order.
--
-- $1..$12 runs: id, definition id, whether it must be the latest of its name (null = it may be
--         out of date), priority, input, variables, correlation id, idempotency key, parent id,
--         parent's token, root id, time-out in ms
-- $13..$21 first task: reference, queue, state, delay in ms, time-out in ms, poll time-out in ms,
--         time of all attempts in ms, input, number of the run (from 1)
-- $22 holder of what is leased here
-- $23 of each run: domains for its tasks (null = none); $24 of each first task: its type (null =
--         the queue's name)
--
-- Out: kind w = the run is new, s = its first task. A run that is missing has an id or a key that
-- is taken, or its definition is no longer the current one.
WITH r AS MATERIALIZED (
    SELECT x.*, d.name, d.version
    FROM unnest(
        $1::uuid[], $2::bigint[], $3::bool[], $4::smallint[], $5::jsonb[], $6::jsonb[], $7::text[],
        $8::text[], $9::uuid[], $10::bigint[], $11::uuid[], $12::bigint[], $23::jsonb[]
    ) WITH ORDINALITY AS x(id, definition_id, must_be_latest, priority, input, variables,
                           correlation_id, idempotency_key, parent_id, parent_token, root_id,
                           timeout_ms, task_to_domain, ord)
    JOIN {schema}.workflow_definitions d
        ON d.id = x.definition_id
            AND (x.must_be_latest IS NULL OR (d.is_current AND (d.is_latest OR NOT x.must_be_latest)))
),
w AS (
    INSERT INTO {schema}.workflows (
        id, definition_id, name, version, priority, input, variables, correlation_id,
        idempotency_key, parent_id, parent_token, root_id, deadline, task_to_domain
    )
    SELECT id, definition_id, name, version, priority, input, variables, correlation_id,
        idempotency_key, parent_id, parent_token, root_id,
        statement_timestamp() + timeout_ms * interval '1 millisecond', task_to_domain
    FROM r
    ORDER BY name, idempotency_key, ord
    ON CONFLICT DO NOTHING
    RETURNING id
),
s AS (
    INSERT INTO {schema}.open_tasks (
        workflow_id, reference_name, queue, task_type, state, priority, holder, poll_count, started_at,
        due_at, expires_at, timeout_ms, poll_timeout_ms, input
    )
    SELECT x.workflow_id, x.ref, x.queue, x.task_type, x.state, x.priority,
        CASE WHEN x.state = 1 THEN $22::bigint END,
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
        x.expiry, x.timeout_ms, x.poll_timeout_ms, x.input
    FROM (
        SELECT n.*, r.id AS workflow_id, r.priority,
            statement_timestamp() + n.total_ms * interval '1 millisecond' AS expiry
        FROM unnest(
            $13::text[], $14::text[], $15::smallint[], $16::bigint[], $17::bigint[], $18::bigint[],
            $19::bigint[], $20::jsonb[], $21::bigint[], $24::text[]
        ) AS n(ref, queue, state, delay_ms, timeout_ms, poll_timeout_ms, total_ms, input, run,
               task_type)
        JOIN r ON r.ord = n.run
        JOIN w ON w.id = r.id
        ORDER BY r.ord
    ) x
    RETURNING id, workflow_id, reference_name, epoch, attempt, queue, state, rev, priority, paused,
        set_aside, poll_count, started_at, due_at, expires_at, NULL::jsonb AS input,
        NULL::jsonb AS detail, scope
)
SELECT 'w'::"char" AS kind, NULL::bigint AS id, w.id AS workflow_id, ''::text AS reference_name,
    0::smallint AS epoch, 0::smallint AS attempt, ''::text AS queue, 0::smallint AS state,
    0 AS rev, 0::smallint AS priority, false AS paused, 0::smallint AS set_aside, 0 AS poll_count,
    NULL::timestamptz AS started_at, NULL::timestamptz AS due_at, NULL::timestamptz AS expires_at,
    NULL::jsonb AS input, NULL::jsonb AS detail, NULL::bigint AS scope
FROM w
UNION ALL SELECT 's', * FROM s
