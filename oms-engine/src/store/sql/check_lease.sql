-- check_lease: whether a token is still leased to this holder. $1 token id, $2 holder
SELECT EXISTS (
    SELECT FROM {schema}.open_tasks WHERE id = $1::bigint AND coalesce(holder, 0) = $2::bigint
) AS held
