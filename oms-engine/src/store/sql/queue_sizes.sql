-- queue_sizes: how many tasks wait in each queue for a worker, now or after a delay.
SELECT queue, count(*) AS tasks
FROM {schema}.open_tasks
WHERE queue <> '$system'
    AND (state = 0 OR (state = 2 AND due_at IS NOT NULL AND task_type IS DISTINCT FROM queue))
GROUP BY queue
