-- peek_queues: the most urgent ready task of each queue. $1 queues.
SELECT q.queue, x.priority,
    (extract(epoch FROM statement_timestamp() - x.scheduled_at) * 1000)::bigint AS age_ms
FROM unnest($1::text[]) AS q(queue)
CROSS JOIN LATERAL (
    SELECT r.priority, r.scheduled_at
    FROM {schema}.open_tasks r
    WHERE r.state = 0 AND r.queue = q.queue
    ORDER BY r.priority DESC, r.id
    LIMIT 1
) x
