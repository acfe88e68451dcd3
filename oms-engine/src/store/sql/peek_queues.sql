-- peek_queues: the priority of the most urgent ready task of each queue that has one. $1 queues; $2, $3
-- a priority and the id where it begins in each (as advance).
SELECT x.priority
FROM unnest($1::text[], $2::smallint[], $3::bigint[]) AS q(queue, priority, floor)
CROSS JOIN LATERAL (SELECT coalesce(
    (
        SELECT r.priority
        FROM {schema}.open_tasks r
        WHERE r.state = 0 AND r.queue = q.queue AND r.priority > q.priority
        ORDER BY r.priority DESC, r.id
        LIMIT 1
    ),
    (
        SELECT r.priority
        FROM {schema}.open_tasks r
        WHERE r.state = 0 AND r.queue = q.queue AND r.priority = q.priority AND r.id >= q.floor
        ORDER BY r.id
        LIMIT 1
    ),
    (
        SELECT r.priority
        FROM {schema}.open_tasks r
        WHERE r.state = 0 AND r.queue = q.queue AND r.priority < q.priority
        ORDER BY r.priority DESC, r.id
        LIMIT 1
    )
) AS priority OFFSET 0) x
WHERE x.priority IS NOT NULL
