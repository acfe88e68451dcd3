-- lock_waiting: the token of a task that waits for a run, if it still does. $1 token id, $2 the run
SELECT id
FROM {schema}.open_tasks
WHERE id = $1::bigint AND state = 3 AND output->>'subWorkflowId' = $2::uuid::text
FOR UPDATE
