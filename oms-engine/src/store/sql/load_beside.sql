-- load_beside: what else is open in a run. $1 workflow id, $2 the token that is decided, $3 names
-- that lists have. Out: how many tokens, whether one of them can lead to something, and which of
-- the names are open, or have ended and what follows is left for another decision.
WITH t AS (
    SELECT state, task_type, remaining,
        coalesce(nullif(reference_name, ''), input->>'after') AS name,
        reference_name = '' AND input ? 'control' AS control
    FROM {schema}.open_tasks
    WHERE workflow_id = $1::uuid AND id <> $2::bigint
)
SELECT count(*) FILTER (WHERE NOT control) AS others,
    coalesce(bool_or(state < 3 OR task_type = 'SUB_WORKFLOW'), false) AS live,
    coalesce(
        array_agg(name) FILTER (WHERE split_part(name, '__', 1) = ANY ($3::text[])), '{}'
    ) AS open
FROM t
