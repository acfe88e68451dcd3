-- lend_tasks: leased tasks are with remote workers from now on, or are heard of again: whoever gave
-- them out may end. $1 ids, $2 holders, $3 workers (null = as it is), $4 ms until they must be heard
-- of again (null = never), $5 whether a time-out that is past was only to be told of, $6 the holder
-- of what remote workers have. Out: the ids that were theirs.
UPDATE {schema}.open_tasks t
SET holder = $6::bigint,
    worker = coalesce(x.worker, t.worker),
    due_at = least(
        CASE WHEN NOT x.alerts
                OR t.started_at + t.timeout_ms * interval '1 millisecond' > statement_timestamp()
            THEN t.started_at + t.timeout_ms * interval '1 millisecond' END,
        statement_timestamp() + x.response_ms * interval '1 millisecond',
        t.expires_at
    )
FROM (
    SELECT o.id AS old_id, u.*
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bool[])
        AS u(id, holder, worker, response_ms, alerts)
    JOIN {schema}.open_tasks o ON o.id BETWEEN u.id AND u.id AND coalesce(o.holder, 0) = u.holder AND o.state = 1
    ORDER BY u.id
    FOR UPDATE OF o
) x
WHERE t.id BETWEEN x.old_id AND x.old_id
RETURNING t.id
