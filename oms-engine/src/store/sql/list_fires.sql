-- list_fires: the last fires of a schedule, newest first. $1 schedule (null = any), $2 how many at
-- most.
SELECT execution_id, schedule, workflow_name, workflow_id, state, reason, zone_id, scheduled_at,
    executed_at
FROM {schema}.schedule_fires
WHERE ($1::text IS NULL OR schedule = $1::text)
ORDER BY id DESC
LIMIT $2::bigint
