-- close_token: takes a token of no task that has said what it had to. $1 token id (locked).
DELETE FROM {schema}.open_tasks WHERE id = $1::bigint AND reference_name = ''
