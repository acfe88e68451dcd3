-- find_blocking: the first task that a run, or one of its open sub-workflows, stands at: a WAIT
-- without an end, or one of these names that has ended. $1 workflow id, $2 reference names.
-- Out: the attempt.
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
SELECT a.workflow_id, a.reference_name, a.epoch, a.attempt
FROM tree
CROSS JOIN LATERAL (
    SELECT t.workflow_id, t.reference_name, t.epoch, t.attempt, t.seq
    FROM {schema}.open_tasks t
    WHERE t.workflow_id = tree.id AND t.state = 2 AND t.task_type = 'WAIT' AND t.due_at IS NULL
    UNION ALL
    SELECT h.workflow_id, h.reference_name, h.epoch, h.attempt, h.seq
    FROM {schema}.task_history h
    JOIN {schema}.workflows w ON w.id = h.workflow_id
    WHERE h.workflow_id = tree.id AND h.reference_name = ANY ($2::text[])
        AND (w.cuts IS NULL OR NOT {schema}.is_cut_off(
            w.cuts, h.workflow_id, h.epoch, h.seq, h.queue, h.ended_at
        ))
) a
ORDER BY tree.path || a.seq, a.attempt
LIMIT 1
