-- gather_tokens: one token waits for all tokens that are left of a run, which are locked; without
-- any it is ready. A control token says when that has lasted too long.
-- $1 workflow id; $2 references and $3 inputs of those whose token has none; $4 reason for the
-- runs that they wait for, $5 the longest time in ms. Out: how many such runs there are.
WITH g AS MATERIALIZED (
    SELECT nextval('{schema}.token_ids') AS id, w.id AS workflow_id, w.epoch, w.priority, w.status
    FROM {schema}.workflows w
    WHERE w.id = $1::uuid
),
k AS (
    UPDATE {schema}.open_tasks t
    SET scope = g.id, rev = t.rev + 1, paused = false,
        input = coalesce(t.input, (
            SELECT x.input FROM unnest($2::text[], $3::jsonb[]) AS x(reference_name, input)
            WHERE x.reference_name = t.reference_name
            LIMIT 1
        ))
    FROM g
    WHERE t.workflow_id = $1::uuid
        AND NOT (t.reference_name = '' AND coalesce(t.input ? 'control', false))
    RETURNING t.id
),
n AS MATERIALIZED (
    SELECT count(*)::int AS remaining FROM k
),
c AS (
    INSERT INTO {schema}.open_tasks (workflow_id, reference_name, epoch, queue, state, priority, input)
    SELECT w.id, '', w.epoch, '$system', 0, w.priority,
        jsonb_build_object('control', 'terminate', 'reason', $4::text, 'token', w.parent_token,
            'compensate', true)
    FROM {schema}.workflows w
    JOIN k ON k.id = w.parent_token
    WHERE w.parent_id = $1::uuid AND w.status IN (0, 1)
    RETURNING id
),
o AS (
    INSERT INTO {schema}.open_tasks (
        id, workflow_id, reference_name, epoch, queue, state, remaining, paused, priority, due_at,
        input
    )
    SELECT g.id, g.workflow_id, '', g.epoch, '$system',
        CASE WHEN n.remaining > 0 THEN 3 ELSE 0 END, n.remaining, g.status = 1, g.priority,
        NULL::timestamptz, jsonb_build_object('unwind', true)
    FROM g, n
    UNION ALL
    SELECT nextval('{schema}.token_ids'), g.workflow_id, '', g.epoch, '$system', 2, NULL, false,
        g.priority, statement_timestamp() + $5::bigint * interval '1 millisecond',
        jsonb_build_object('control', 'cut off', 'gate', g.id)
    FROM g, n
    WHERE n.remaining > 0
    RETURNING id
)
SELECT count(*) FROM c
