-- find_first_wait: the first open WAIT of a run, else that of the first of its sub-workflows that
-- has one. $1 workflow id. Out: as find_open_task, and the run.
WITH RECURSIVE tree AS (
    SELECT $1::uuid AS id, ARRAY[]::bigint[] AS path
    UNION ALL
    SELECT w.id, tree.path || t.seq
    FROM tree
    CROSS JOIN LATERAL (
        SELECT t.id, t.seq FROM {schema}.open_tasks t WHERE t.workflow_id = tree.id AND t.state = 3 OFFSET 0
    ) t
    CROSS JOIN LATERAL (
        SELECT w.id
        FROM {schema}.workflows w
        WHERE w.parent_id = tree.id AND w.parent_token = t.id AND w.status IN (0, 1)
        OFFSET 0
    ) w
)
SELECT t.id, coalesce(t.holder, 0) AS holder, t.reference_name, t.epoch, t.attempt, t.workflow_id
FROM tree
JOIN {schema}.open_tasks t ON t.workflow_id BETWEEN tree.id AND tree.id AND t.state = 2 AND t.task_type = 'WAIT'
ORDER BY tree.path, t.seq
LIMIT 1
