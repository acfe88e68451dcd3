-- move_schedules: schedules that have fired wait for their next fire.
-- $1..$4: name, next fire, by which expression, the run that was started.
UPDATE {schema}.schedules s
SET next_fire_at = x.next_fire_at,
    next_cron = x.next_cron,
    last_workflow_id = coalesce(x.workflow_id, s.last_workflow_id)
FROM unnest($1::text[], $2::timestamptz[], $3::smallint[], $4::uuid[])
    AS x(name, next_fire_at, next_cron, workflow_id)
WHERE s.name = x.name
