-- is_waiting: whether a token waits for others. $1 token id.
SELECT EXISTS (SELECT FROM {schema}.open_tasks WHERE id = $1::bigint AND state = 3) AS waiting
