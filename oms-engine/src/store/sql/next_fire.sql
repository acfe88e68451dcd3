-- next_fire: milliseconds until the next fire of a schedule; null for none. As next_due.
SELECT CASE WHEN n.due IS NOT NULL THEN
    greatest(0, ceil(extract(epoch FROM n.due - clock_timestamp()) * 1000))::bigint
END AS ms
FROM (
    SELECT min(next_fire_at) AS due
    FROM {schema}.schedules
    WHERE next_fire_at IS NOT NULL AND NOT paused AND name <> ALL ($1::text[])
) n
