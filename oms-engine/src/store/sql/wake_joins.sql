-- wake_joins: JOINs that wait for a task that has ended are ready, to be looked at; where nothing
-- can lead to anything any more, the first one that waits. $1 workflow id, $2 names without turns.
-- Out: queues.
WITH waiting AS (
    SELECT id,
        input->'joinOn' ?| $2::text[] OR coalesce(input->'defaultExclusiveJoinTask' ?| $2::text[], false)
            AS named
    FROM {schema}.open_tasks
    WHERE workflow_id = $1::uuid AND state = 3 AND remaining = 0
        AND task_type IN ('JOIN', 'EXCLUSIVE_JOIN')
)
UPDATE {schema}.open_tasks j
SET state = 0, id = nextval('{schema}.token_ids')
FROM waiting
WHERE j.id BETWEEN waiting.id AND waiting.id
    AND (waiting.named
        OR (waiting.id = (SELECT min(id) FROM waiting)
            AND NOT EXISTS (SELECT FROM waiting WHERE named)
            AND NOT EXISTS (
                SELECT FROM {schema}.open_tasks t
                WHERE t.workflow_id = $1::uuid AND (t.state < 3 OR t.task_type = 'SUB_WORKFLOW')
            )))
RETURNING j.queue
