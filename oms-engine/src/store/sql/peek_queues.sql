-- peek_queues: the priority of the most urgent ready task of each queue that has one. $1 queues.
SELECT x.priority
FROM unnest($1::text[]) AS q(queue)
CROSS JOIN LATERAL (
    SELECT r.priority
    FROM {schema}.open_tasks r
    WHERE r.state = 0 AND r.queue = q.queue
    ORDER BY r.priority DESC, r.id
    LIMIT 1
) x
