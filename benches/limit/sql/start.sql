-- start: inserts runs with their first task.
--
-- $1 ids, $2 inputs, $3 name of the definition, $4 the first task, $5 holder of the first tasks
--         (null = they are ready for anyone)
-- Out: the first tasks' tokens, with their runs.
WITH w AS (
    INSERT INTO oms_engine.workflows (id, definition_id, name, version, input)
    SELECT id, 1, $3, 1, input FROM unnest($1::uuid[], $2::jsonb[]) AS r(id, input)
)
INSERT INTO oms_engine.open_tasks (
    workflow_id, reference_name, queue, state, holder, poll_count, started_at
)
SELECT id, $4, $4, CASE WHEN $5::bigint IS NULL THEN 0 ELSE 1 END, $5,
    CASE WHEN $5::bigint IS NULL THEN 0 ELSE 1 END,
    CASE WHEN $5::bigint IS NOT NULL THEN statement_timestamp() END
FROM unnest($1::uuid[]) AS r(id)
RETURNING id, workflow_id
