-- put_limit: the limits of a task definition. $1 name, $2 how many at once, $3 how many in a
-- window, $4 the window in ms (null for none). Out: a row where they are others than before.
WITH gone AS (
    DELETE FROM {schema}.task_limits
    WHERE name = $1::text AND $2::int IS NULL AND $3::int IS NULL
    RETURNING name
),
permits AS (
    DELETE FROM {schema}.task_permits WHERE name = $1::text AND $2::int IS NULL
),
steps AS (
    DELETE FROM {schema}.rate_steps WHERE name = $1::text AND $3::int IS NULL
),
put AS (
    INSERT INTO {schema}.task_limits AS l (name, concurrent, rate, rate_ms)
    SELECT $1::text, $2::int, $3::int, $4::bigint
    WHERE $2::int IS NOT NULL OR $3::int IS NOT NULL
    ON CONFLICT (name) DO UPDATE
    SET concurrent = excluded.concurrent,
        rate = excluded.rate,
        rate_ms = excluded.rate_ms,
        counted_since = CASE WHEN l.concurrent IS NULL THEN excluded.counted_since
            ELSE l.counted_since END
    WHERE (l.concurrent, l.rate, l.rate_ms)
        IS DISTINCT FROM (excluded.concurrent, excluded.rate, excluded.rate_ms)
    RETURNING name
)
UPDATE {schema}.meta
SET limits_version = limits_version + 1
WHERE EXISTS (SELECT FROM gone) OR EXISTS (SELECT FROM put)
RETURNING limits_version
