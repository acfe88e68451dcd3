-- wait_again: a JOIN that has not got what it waits for. $1 token id (locked).
UPDATE {schema}.open_tasks SET state = 3, holder = NULL WHERE id = $1::bigint
