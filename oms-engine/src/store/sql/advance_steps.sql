-- advance_steps: the hot statement for ordinary steps, of which most batches are made: tasks that
-- COMPLETED and at most one that follows each, in no container of their own, at once and for the first
-- time; ends of runs that completed and have no parent; no claims. Does what advance does with such, at
-- half of its fixed cost.
--
-- $1..$7 ended attempts: token id, rev, holder (0 = none), input (null = the token's), output, worker,
--         the run's output (null = it goes on)
-- $8..$13 what follows each: reference (null = nothing), queue, state, time-out in ms, poll time-out in
--         ms, time of all attempts in ms
-- $14 holder of what is leased here
--
-- Out: as lists side by side, the tokens that were ended (missing = lost, stale or paused), the tokens
-- of what follows them (null = nothing) and the containers these stand in; side by side too, the tokens
-- that were opened and when they are due; the time.
-- See advance for the fence, and for when what follows is a retry.
WITH u AS MATERIALIZED (
    SELECT unnest($1::bigint[]) AS id, unnest($2::int[]) AS rev, unnest($3::bigint[]) AS holder,
        unnest($4::jsonb[]) AS input, unnest($5::jsonb[]) AS output, unnest($6::text[]) AS worker,
        unnest($7::jsonb[]) AS run_output, unnest($8::text[]) AS ref, unnest($9::text[]) AS queue,
        unnest($10::smallint[]) AS state, unnest($11::bigint[]) AS timeout_ms,
        unnest($12::bigint[]) AS poll_timeout_ms, unnest($13::bigint[]) AS total_ms
),
d AS (
    DELETE FROM {schema}.open_tasks t
    USING u
    WHERE t.id BETWEEN u.id AND u.id AND coalesce(t.holder, 0) = u.holder AND t.rev = u.rev AND NOT t.paused
    RETURNING t.id, t.workflow_id, t.reference_name, t.epoch, t.attempt, t.seq,
        coalesce(t.task_type, t.queue) AS ended_queue, t.rev, t.priority, t.scope, t.poll_count,
        t.scheduled_at, t.started_at, coalesce(u.input, t.input) AS input, u.output, u.worker,
        u.run_output, u.ref, u.queue, u.state, u.timeout_ms, u.poll_timeout_ms,
        CASE WHEN u.ref IS NOT NULL THEN nextval('{schema}.token_ids') END AS next_id,
        CASE WHEN u.ref = coalesce(nullif(t.reference_name, ''), t.input->>'after')
            THEN t.expires_at
            ELSE statement_timestamp() + u.total_ms * interval '1 millisecond'
        END AS expiry
),
f AS (
    INSERT INTO {schema}.task_history (
        workflow_id, reference_name, epoch, attempt, status, seq, queue, poll_count, input, output,
        worker, scheduled_at, started_at
    )
    SELECT workflow_id, reference_name, epoch, attempt, 0, seq, ended_queue, poll_count, input,
        output, worker, scheduled_at, started_at
    FROM d
    WHERE reference_name <> ''
),
s AS (
    INSERT INTO {schema}.open_tasks (
        id, workflow_id, reference_name, epoch, queue, state, rev, priority, scope, holder, poll_count,
        started_at, due_at, expires_at, timeout_ms, poll_timeout_ms
    )
    SELECT next_id, workflow_id, ref, epoch, queue, state, rev, priority, scope,
        CASE WHEN state = 1 THEN $14::bigint END,
        CASE WHEN state = 1 THEN 1 ELSE 0 END,
        CASE WHEN state = 1 THEN statement_timestamp() END,
        least(
            statement_timestamp() + CASE state WHEN 0 THEN poll_timeout_ms ELSE timeout_ms END
                * interval '1 millisecond',
            expiry
        ),
        expiry, timeout_ms, poll_timeout_ms
    FROM d
    WHERE next_id IS NOT NULL
    RETURNING id, due_at
),
e AS (
    UPDATE {schema}.workflows w
    SET status = 2, output = d.run_output, ended_at = statement_timestamp()
    FROM d
    WHERE d.run_output IS NOT NULL AND w.id BETWEEN d.workflow_id AND d.workflow_id AND w.status = 0
    RETURNING w.id
)
SELECT array_agg(id) AS ended, array_agg(next_id) AS followed_by, array_agg(scope) AS scopes,
    (SELECT array_agg(s.id) FROM s) AS opened, (SELECT array_agg(s.due_at) FROM s) AS due,
    statement_timestamp() AS at
FROM d
WHERE (SELECT count(*) FROM e) = (SELECT count(*) FROM d x WHERE x.run_output IS NOT NULL)
    OR {schema}.broken_invariant('end of a workflow that is not running')
