-- other_waits: whether another open task than this one waits for a run. $1 the run, $2 the token
SELECT EXISTS (
    SELECT FROM {schema}.open_tasks t
    WHERE t.id = (SELECT w.parent_token FROM {schema}.workflows w WHERE w.id = $1::uuid)
        AND t.id <> $2::bigint
) AS waits
