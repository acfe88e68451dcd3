-- park_container: a container that fell to 0 while its run is paused. $1 token id (locked).
UPDATE {schema}.open_tasks SET state = 2, holder = NULL, due_at = NULL WHERE id = $1::bigint
