-- Workflows that start by a cron expression.

CREATE TABLE {schema}.schedules (
    name text PRIMARY KEY,
    definition jsonb NOT NULL,
    workflow_name text NOT NULL,
    paused boolean NOT NULL,
    paused_reason text,
    -- The next fire, and by which of its expressions; null when there is none.
    next_fire_at timestamptz,
    next_cron smallint NOT NULL DEFAULT 0,
    -- The run of the last fire that started one.
    last_workflow_id uuid,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp()
);
CREATE INDEX schedules_due ON {schema}.schedules (next_fire_at)
    WHERE next_fire_at IS NOT NULL AND NOT paused;

-- The last fires of each schedule. State: 0 EXECUTED, 1 FAILED, 2 SKIPPED.
CREATE TABLE {schema}.schedule_fires (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    execution_id uuid NOT NULL,
    schedule text NOT NULL REFERENCES {schema}.schedules ON DELETE CASCADE,
    workflow_name text NOT NULL,
    workflow_id uuid,
    state smallint NOT NULL CHECK (state BETWEEN 0 AND 2),
    reason text,
    zone_id text NOT NULL,
    scheduled_at timestamptz NOT NULL,
    executed_at timestamptz NOT NULL DEFAULT statement_timestamp()
);
CREATE INDEX schedule_fires_schedule ON {schema}.schedule_fires (schedule, id);
