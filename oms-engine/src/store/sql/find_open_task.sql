-- find_open_task: the task of a run that a word from outside may end, by its reference name, with
-- or without turns; in loops the one scheduled last. These are tasks that wait for a time, a
-- person or an answer, and those of workers. $1 workflow id, $2 reference name, $3 epoch,
-- $4 attempt (null = any). Out: token id, holder (0 = none), reference name, epoch, attempt,
-- whether workers get it, its queue.
SELECT id, coalesce(holder, 0) AS holder, reference_name, epoch, attempt,
    queue <> '$system' AND (state < 2 OR task_type IS DISTINCT FROM queue) AS for_worker,
    queue
FROM {schema}.open_tasks
WHERE workflow_id = $1::uuid
    AND reference_name <> ''
    AND ((state = 2 AND (task_type IN ('WAIT', 'HUMAN') OR task_type = queue OR output IS NOT NULL))
        OR (state < 3 AND queue <> '$system'))
    AND (reference_name = $2::text
        OR ($3::smallint IS NULL AND split_part(reference_name, '__', 1) = $2::text))
    AND ($3::smallint IS NULL OR epoch = $3::smallint)
    AND ($4::smallint IS NULL OR attempt = $4::smallint)
ORDER BY seq DESC
LIMIT 1
