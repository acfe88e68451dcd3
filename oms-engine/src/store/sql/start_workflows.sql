-- start_workflows: inserts runs with their first task each. Sorted by key, so that two batches
-- that share keys wait for each other in one order.
--
-- $1..$13 runs: id, definition id, whether it must be the latest of its name (null = it may be
--         out of date), priority, input, variables, correlation id, idempotency key, parent id,
--         parent's token, root id, time-out in ms, domains for its tasks (null = none)
-- $14..$22 the first task of each: reference, queue, type (null = the queue's name), state, delay in
--         ms, time-out in ms, poll time-out in ms, time of all attempts in ms, input
-- $23 holder of what is leased here
-- $24 the trace of each run (null = it follows from its ids)
--
-- Out: the runs that are new; as lists side by side those of which the first task is leased, their
-- tokens and due times; the time. A run that is missing has an id or a key that is taken, or its
-- definition is no longer the current one.
-- Lists are taken apart in the target list, where nothing is stored of each apart.
WITH r AS MATERIALIZED (
    SELECT x.*, d.name, d.version,
        statement_timestamp() + x.total_ms * interval '1 millisecond' AS expiry
    FROM (
        SELECT generate_subscripts($1::uuid[], 1) AS ord, unnest($1::uuid[]) AS id,
            unnest($2::bigint[]) AS definition_id, unnest($3::bool[]) AS must_be_latest,
            unnest($4::smallint[]) AS priority, unnest($5::jsonb[]) AS input,
            unnest($6::jsonb[]) AS variables, unnest($7::text[]) AS correlation_id,
            unnest($8::text[]) AS idempotency_key, unnest($9::uuid[]) AS parent_id,
            unnest($10::bigint[]) AS parent_token, unnest($11::uuid[]) AS root_id,
            unnest($12::bigint[]) AS deadline_ms, unnest($13::jsonb[]) AS task_to_domain,
            unnest($14::text[]) AS ref, unnest($15::text[]) AS queue,
            unnest($16::text[]) AS task_type, unnest($17::smallint[]) AS state,
            unnest($18::bigint[]) AS delay_ms, unnest($19::bigint[]) AS timeout_ms,
            unnest($20::bigint[]) AS poll_timeout_ms, unnest($21::bigint[]) AS total_ms,
            unnest($22::jsonb[]) AS task_input, unnest($24::jsonb[]) AS trace
    ) x
    JOIN {schema}.workflow_definitions d
        ON d.id = x.definition_id
            AND (x.must_be_latest IS NULL OR (d.is_current AND (d.is_latest OR NOT x.must_be_latest)))
),
w AS (
    INSERT INTO {schema}.workflows (
        id, definition_id, name, version, priority, input, variables, correlation_id,
        idempotency_key, parent_id, parent_token, root_id, deadline, task_to_domain, trace
    )
    SELECT id, definition_id, name, version, priority, input, variables, correlation_id,
        idempotency_key, parent_id, parent_token, root_id,
        statement_timestamp() + deadline_ms * interval '1 millisecond', task_to_domain, trace
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
    SELECT r.id, r.ref, r.queue, r.task_type, r.state, r.priority,
        CASE WHEN r.state = 1 THEN $23::bigint END,
        CASE WHEN r.state = 1 THEN 1 ELSE 0 END,
        -- What waits for a word or a time has begun.
        CASE WHEN r.state = 1 OR (r.task_type IS NOT NULL AND r.state > 1
                AND (r.delay_ms IS NULL OR r.queue = r.task_type))
            THEN statement_timestamp() END,
        least(
            statement_timestamp() + CASE r.state
                WHEN 0 THEN r.poll_timeout_ms
                WHEN 1 THEN r.timeout_ms
                ELSE r.delay_ms
            END * interval '1 millisecond',
            r.expiry
        ),
        r.expiry, r.timeout_ms, r.poll_timeout_ms, r.task_input
    FROM r
    JOIN w ON w.id = r.id
    ORDER BY r.ord
    RETURNING id, workflow_id, state, due_at
)
SELECT (SELECT array_agg(w.id) FROM w) AS started, array_agg(s.workflow_id) AS runs,
    array_agg(s.id) AS tokens, array_agg(s.due_at) AS due, statement_timestamp() AS at
FROM s
WHERE state = 1
