-- What transactional tasks did: a row is written in the transaction of the effect, so that a delivery that
-- is repeated finds the output and does nothing.
CREATE TABLE oms_conductor.inbox (
    -- Of the step, the same for all its attempts.
    idempotency_key text PRIMARY KEY,
    task_name text NOT NULL,
    -- NULL only within the transaction of the effect.
    output jsonb,
    written_at timestamptz NOT NULL DEFAULT statement_timestamp()
);

-- For removing old rows: they come in the order of time.
CREATE INDEX inbox_written_at_idx ON oms_conductor.inbox USING brin (written_at);
