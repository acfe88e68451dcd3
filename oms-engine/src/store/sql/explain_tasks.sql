-- explain_tasks: the open tasks of a run, the oldest first, with who holds them, what stands before
-- them in their queue, when anybody asked that queue for work, the limit that they are under, and the
-- run or the tasks that they wait for.
-- $1 workflow id, $2 how many tasks at most, $3 how many of a queue are counted at most: of a task
-- further back that many are said to be before it, $4 how many
-- of the tasks in a container are named.
-- Its tokens first: a join could be planned over all open tasks.
WITH o AS MATERIALIZED (
    SELECT t.*, count(*) OVER () AS tasks
    FROM {schema}.open_tasks t
    WHERE t.workflow_id = $1::uuid
    ORDER BY t.seq
    LIMIT $2::bigint
),
-- Each queue once, in the order in which it is claimed, however many of the tasks stand in it.
queued AS MATERIALIZED (
    SELECT r.id, r.place
    FROM (SELECT DISTINCT queue FROM o WHERE state = 0) q
    CROSS JOIN LATERAL (
        SELECT t.id, row_number() OVER (ORDER BY t.priority DESC, t.id) - 1 AS place
        FROM {schema}.open_tasks t
        WHERE t.state = 0 AND t.queue = q.queue
        ORDER BY t.priority DESC, t.id
        LIMIT $3::bigint
    ) r
    WHERE r.id IN (SELECT id FROM o WHERE state = 0)
)
SELECT o.reference_name, o.epoch, o.attempt, o.seq, o.queue, o.task_type, o.state, o.paused,
    o.poll_count, o.remaining, o.scheduled_at, o.started_at, o.due_at, o.worker, o.reason, o.holder,
    o.tasks, s.id AS session_id, s.name AS session_name, s.heartbeat_at, s.dead_at IS NOT NULL AS dead,
    CASE WHEN o.state = 0 THEN coalesce(queued.place, $3::bigint) END AS ahead, asked.at AS asked_at, l.name AS limit_name, l.concurrent, l.rate,
    leased.tasks AS leased, handed.tasks AS handed_out, handed.opens_at,
    child.id AS child_id, child.name AS child_name, child.status AS child_status,
    inside.names AS inside, o.input->'joinOn' AS join_on
FROM o
LEFT JOIN {schema}.holders h ON h.id = o.holder
LEFT JOIN {schema}.sessions s ON s.id = h.session_id
LEFT JOIN queued ON queued.id = o.id
LEFT JOIN LATERAL (
    SELECT p.polled_at AS at
    FROM {schema}.worker_polls p
    WHERE p.task_type = o.queue AND p.domain = ''
) asked ON true
LEFT JOIN LATERAL (
    SELECT l.*
    FROM {schema}.task_limits l
    WHERE coalesce(o.task_type, o.queue) = l.name
        OR right(coalesce(o.task_type, o.queue), length(l.name) + 1) = ':' || l.name
    ORDER BY length(l.name) DESC
    LIMIT 1
) l ON o.state = 0 AND o.queue <> '$system'
LEFT JOIN LATERAL (
    SELECT count(*) AS tasks
    FROM {schema}.task_permits p
    WHERE p.name = l.name
        AND (SELECT t.state = 1 FROM {schema}.open_tasks t WHERE t.id BETWEEN p.token_id AND p.token_id)
) leased ON l.concurrent IS NOT NULL
LEFT JOIN LATERAL (
    SELECT coalesce(sum(r.handed_out), 0)::bigint AS tasks,
        min(r.step_end) + l.rate_ms * interval '1 millisecond' AS opens_at
    FROM {schema}.rate_steps r
    WHERE r.name = l.name
        AND r.step_end > statement_timestamp() - l.rate_ms * interval '1 millisecond'
) handed ON l.rate IS NOT NULL
LEFT JOIN LATERAL (
    SELECT c.id, c.name, c.status
    FROM {schema}.workflows c
    WHERE c.parent_id = $1::uuid AND c.parent_token = o.id
    ORDER BY c.created_at DESC
    LIMIT 1
) child ON o.state = 3
LEFT JOIN LATERAL (
    SELECT array_agg(c.reference_name) AS names
    FROM (
        SELECT c.reference_name
        FROM {schema}.open_tasks c
        WHERE c.workflow_id = $1::uuid AND c.scope = o.id AND c.reference_name <> ''
        ORDER BY c.seq
        LIMIT $4::bigint
    ) c
) inside ON o.state = 3
ORDER BY o.seq
