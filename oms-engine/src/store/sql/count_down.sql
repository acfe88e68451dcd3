-- count_down: a run has ended outside the hot statement: the task that waits for it is ready.
-- $1 workflow id. Out: whether there is such a task.
UPDATE {schema}.open_tasks j
SET remaining = j.remaining - 1,
    state = CASE WHEN j.remaining > 1 THEN 3 ELSE 0 END
FROM {schema}.workflows w
WHERE w.id = $1::uuid AND j.id BETWEEN w.parent_token AND w.parent_token AND j.state = 3
RETURNING j.queue
