-- list_sessions: the engines that are known, with what is leased to each, by queue.
SELECT s.id, s.name, s.engine_version, s.started_at,
    (extract(epoch FROM statement_timestamp() - s.heartbeat_at) * 1000)::bigint AS silent_ms,
    s.dead_at, coalesce(held.queues, '{}') AS queues, coalesce(held.counts, '{}') AS counts
FROM {schema}.sessions s
CROSS JOIN LATERAL (
    SELECT array_agg(q.queue ORDER BY q.queue) AS queues, array_agg(q.count ORDER BY q.queue) AS counts
    FROM (
        SELECT t.queue, count(*) AS count
        FROM {schema}.open_tasks t
        WHERE t.holder = ANY (
            ARRAY(SELECT h.id FROM {schema}.holders h WHERE h.session_id = s.id)
        )
        GROUP BY t.queue
    ) q
) held
ORDER BY s.id
