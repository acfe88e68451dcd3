-- lock_schedule: takes one schedule, whether it is due or not. $1 name.
SELECT name, definition, paused, paused_reason, next_fire_at, next_cron, created_at, updated_at
FROM {schema}.schedules
WHERE name = $1::text
FOR UPDATE
