-- attach_child: a task waits for a run that goes on or has ended. All tokens of the run and its row
-- are locked; their new rev has whoever ends it read again which task that is. $1 the run, $2 the
-- task's token
WITH w AS (
    UPDATE {schema}.workflows SET parent_token = $2::bigint WHERE id = $1::uuid
)
UPDATE {schema}.open_tasks SET rev = rev + 1 WHERE workflow_id = $1::uuid
