-- due_schedules: takes schedules whose time has come. $1 how many at most, $2 names to leave out.
-- Out: name, definition, the fire that is due, the database's time, and whether the run of the
-- last fire goes on.
SELECT s.name, s.definition, s.next_fire_at, s.next_cron, statement_timestamp() AS now,
    coalesce(w.status IN (0, 1), false) AS running
FROM (
    SELECT name, definition, next_fire_at, next_cron, last_workflow_id
    FROM {schema}.schedules
    WHERE next_fire_at <= statement_timestamp() AND NOT paused AND name <> ALL ($2::text[])
    ORDER BY next_fire_at
    LIMIT $1::bigint
    FOR UPDATE SKIP LOCKED
) s
LEFT JOIN {schema}.workflows w ON w.id BETWEEN s.last_workflow_id AND s.last_workflow_id
