-- update_task: a task that waits has given something and waits on. $1 token id (locked), $2 output,
-- $3 reason
UPDATE {schema}.open_tasks SET output = $2::jsonb, reason = $3::text WHERE id = $1::bigint
