-- postpone_tasks: leased tasks go back and are handed out again after a while.
-- $1 token ids, $2 holder, $3 delay in ms
UPDATE {schema}.open_tasks t
SET id = nextval('{schema}.token_ids'),
    state = 2,
    holder = NULL,
    due_at = least(statement_timestamp() + $3::bigint * interval '1 millisecond', t.expires_at)
WHERE t.id = ANY ($1::bigint[]) AND coalesce(t.holder, 0) = $2::bigint
