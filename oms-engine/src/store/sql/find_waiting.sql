-- find_waiting: the task of a run that waits for a time, a person or somebody outside, by its reference name, with
-- or without turns; in loops the one scheduled last. $1 workflow id, $2 reference name,
-- $3 epoch, $4 attempt (null = any).
SELECT id
FROM {schema}.open_tasks
WHERE workflow_id = $1::uuid AND state = 2 AND (task_type IN ('WAIT', 'HUMAN') OR task_type = queue)
    AND (reference_name = $2::text
        OR ($3::smallint IS NULL AND split_part(reference_name, '__', 1) = $2::text))
    AND ($3::smallint IS NULL OR epoch = $3::smallint)
    AND ($4::smallint IS NULL OR attempt = $4::smallint)
ORDER BY seq DESC
LIMIT 1
