-- other_waits: whether another open task than this one waits for a run. $1 the run, $2 the token
SELECT EXISTS (
    SELECT FROM {schema}.workflows w
    JOIN {schema}.open_tasks t ON t.id = w.parent_token
    WHERE w.id = $1::uuid AND t.id <> $2::bigint
) AS waits
