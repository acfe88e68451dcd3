-- lock_families: locks whole families of runs that ended long ago; a family of which somebody has a row,
-- or with a member that lives, ended lately or has an open token, is passed over.
-- $1 their heads, $2 age in ms, $3 how many runs are enough: a family is whole, so that it may be more.
-- Out: how many of the heads were looked at, and the runs that are locked and may go.
-- The condition on the end is asked again of a row that changed before it was locked.
WITH RECURSIVE family AS (
    SELECT u.ord, u.id FROM unnest($1::uuid[]) WITH ORDINALITY AS u(id, ord)
    UNION ALL
    SELECT f.ord, w.id
    FROM family f
    CROSS JOIN LATERAL (SELECT c.id FROM {schema}.workflows c WHERE c.parent_id = f.id OFFSET 0) w
),
sized AS MATERIALIZED (
    SELECT ord, count(*) AS runs, sum(count(*)) OVER (ORDER BY ord) AS upto FROM family GROUP BY ord
),
locked AS MATERIALIZED (
    SELECT f.ord, f.runs, w.id
    FROM (
        SELECT f.ord, f.id, s.runs FROM family f JOIN sized s ON s.ord = f.ord AND s.upto - s.runs < $3::bigint
    ) f
    JOIN {schema}.workflows w ON w.id BETWEEN f.id AND f.id
    WHERE w.status > 1 AND w.ended_at < statement_timestamp() - $2::bigint * interval '1 millisecond'
        AND NOT EXISTS (SELECT FROM {schema}.open_tasks t WHERE t.workflow_id = w.id OFFSET 0)
    FOR UPDATE OF w SKIP LOCKED
)
SELECT (SELECT count(*) FROM sized WHERE upto - runs < $3::bigint) AS looked,
    coalesce(array_agg(x.id) FILTER (WHERE x.had = x.runs), '{}') AS ids
FROM (SELECT id, runs, count(*) OVER (PARTITION BY ord) AS had FROM locked) x
