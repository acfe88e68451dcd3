-- park_container: a container that fell to 0, or a task to be done, while its run is
-- paused. $1 token id (locked).
-- Nothing left to wait for: that is what a resume knows it by.
UPDATE {schema}.open_tasks
SET state = 2, holder = NULL, due_at = NULL, remaining = coalesce(remaining, 0)
WHERE id = $1::bigint
