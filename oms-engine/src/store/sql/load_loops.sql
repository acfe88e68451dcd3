-- load_loops: the open loops around tokens, from the innermost. $1 the containers of those tokens.
WITH RECURSIVE around AS (
    SELECT id, scope, workflow_id, reference_name, task_type, input, detail
    FROM {schema}.open_tasks
    WHERE id = ANY ($1::bigint[])
    UNION
    SELECT o.id, o.scope, o.workflow_id, o.reference_name, o.task_type, o.input, o.detail
    FROM {schema}.open_tasks o
    JOIN around ON o.id BETWEEN around.scope AND around.scope
)
SELECT workflow_id, reference_name, input, detail->'items' AS items
FROM around
WHERE task_type = 'DO_WHILE'
