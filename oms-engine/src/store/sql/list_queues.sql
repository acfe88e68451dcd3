-- list_queues: the queues that hold something: how many of their tasks are ready and since when the
-- oldest is scheduled, in ms; how many workers have; how many are ready after a delay. Reads all open
-- tasks once.
SELECT queue,
    count(*) FILTER (WHERE state = 0) AS ready,
    (extract(epoch FROM statement_timestamp()
        - min(scheduled_at) FILTER (WHERE state = 0)) * 1000)::bigint AS oldest_ms,
    count(*) FILTER (WHERE state = 1) AS leased,
    count(*) FILTER (WHERE state = 2) AS delayed
FROM {schema}.open_tasks
WHERE state IN (0, 1) OR (state = 2 AND due_at IS NOT NULL AND task_type IS DISTINCT FROM queue)
GROUP BY queue
HAVING queue NOT LIKE '$%'
ORDER BY queue
