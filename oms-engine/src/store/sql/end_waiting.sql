-- end_waiting: what a task waited for has ended: it is ready. $1 token id (locked). Out: its queue.
UPDATE {schema}.open_tasks
SET state = 0, remaining = 0
WHERE id = $1::bigint AND state = 3
RETURNING queue
