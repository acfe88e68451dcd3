-- put_schedule: makes or replaces a schedule. $1 name, $2 definition, $3 workflow's name,
-- $4 paused, $5 why, $6 next fire, $7 by which expression.
INSERT INTO {schema}.schedules
    (name, definition, workflow_name, paused, paused_reason, next_fire_at, next_cron)
VALUES ($1::text, $2::jsonb, $3::text, $4::bool, $5::text, $6::timestamptz, $7::smallint)
ON CONFLICT (name) DO UPDATE SET
    definition = excluded.definition,
    workflow_name = excluded.workflow_name,
    paused = excluded.paused,
    paused_reason = excluded.paused_reason,
    next_fire_at = excluded.next_fire_at,
    next_cron = excluded.next_cron,
    updated_at = statement_timestamp()
RETURNING name, definition, paused, paused_reason, next_fire_at, next_cron, created_at, updated_at
