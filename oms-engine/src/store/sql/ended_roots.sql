-- ended_roots: a stretch of the runs in the order of their starts, and which of them are heads of
-- families that may have ended long ago. There is no index by end: that would make each end write to it.
-- $1 age in ms, $2 and $3 the start and id of the last one that was looked at, $4 how many are looked at.
-- Out: those heads, how many were looked at, and the last of them.
-- What began later than that age ago cannot have ended before it. A parent that was removed is none.
WITH looked AS MATERIALIZED (
    SELECT w.id, w.created_at,
        w.status > 1 AND w.ended_at < statement_timestamp() - $1::bigint * interval '1 millisecond'
            AND (w.parent_id IS NULL
                OR NOT EXISTS (SELECT FROM {schema}.workflows p WHERE p.id BETWEEN w.parent_id AND w.parent_id))
            AS head
    FROM {schema}.workflows w
    WHERE w.created_at >= $2::timestamptz
        AND (w.created_at, w.id) > ($2::timestamptz, $3::uuid)
        AND w.created_at < statement_timestamp() - $1::bigint * interval '1 millisecond'
    ORDER BY w.created_at, w.id
    LIMIT $4::bigint
)
SELECT coalesce(array_agg(id ORDER BY created_at, id) FILTER (WHERE head), '{}') AS heads,
    count(*) AS looked, max(created_at) AS last_at,
    (array_agg(id ORDER BY created_at DESC, id DESC))[1] AS last_id
FROM looked
