-- list_schedules: by name. $1 one name, or null for all; $2 of one workflow, or null for all.
SELECT name, definition, paused, paused_reason, next_fire_at, next_cron, created_at, updated_at
FROM {schema}.schedules
WHERE ($1::text IS NULL OR name = $1::text) AND ($2::text IS NULL OR workflow_name = $2::text)
ORDER BY name
