-- Limits of task definitions, and which worker asked for work last.

-- The limits in force, by the task definition's name; a row where there is one.
CREATE TABLE {schema}.task_limits (
    name text PRIMARY KEY,
    -- How many of its tasks may be leased at once; null for any number.
    concurrent int CHECK (concurrent > 0),
    -- How many may be handed out in each window of so long; null for any number.
    rate int CHECK (rate > 0),
    rate_ms bigint CHECK (rate_ms > 0),
    -- Since when leases of its tasks are counted; before it an engine may not have known.
    counted_since timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT task_limits_rate CHECK ((rate IS NULL) = (rate_ms IS NULL))
);

-- One row for each lease of a limited task. A token that returns to its queue gets another id, so
-- that a row whose token is not leased counts no more; the next claim sweeps it up.
CREATE TABLE {schema}.task_permits (
    token_id bigint PRIMARY KEY,
    name text NOT NULL
);
CREATE INDEX task_permits_name ON {schema}.task_permits (name);

-- What was handed out lately of tasks with a rate, in steps of a hundredth of their window. Each
-- counts until its end is a window ago, so that no window ever sees more than is allowed.
CREATE TABLE {schema}.rate_steps (
    name text NOT NULL,
    step_end timestamptz NOT NULL,
    handed_out int NOT NULL,
    PRIMARY KEY (name, step_end)
);

-- One more at each change of a limit: engines that know an older number read them again.
ALTER TABLE {schema}.meta ADD COLUMN limits_version bigint NOT NULL DEFAULT 0;
