-- list_fires: the last fires of a schedule, newest first. $1 schedule, $2 how many at most.
SELECT execution_id, workflow_name, workflow_id, state, reason, zone_id, scheduled_at, executed_at
FROM {schema}.schedule_fires
WHERE schedule = $1::text
ORDER BY id DESC
LIMIT $2::bigint
