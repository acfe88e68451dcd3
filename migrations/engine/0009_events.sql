-- Events, their handlers, and what handlers did.

CREATE TABLE {schema}.event_handlers (
    name text PRIMARY KEY,
    event text NOT NULL,
    active boolean NOT NULL,
    definition jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp()
);
CREATE INDEX event_handlers_event ON {schema}.event_handlers (event);

-- A row is written in the transaction of whoever publishes. It is pending until an engine has laid
-- out what handlers do about it; then it is kept for a while.
CREATE TABLE {schema}.events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event text NOT NULL,
    message_id text NOT NULL,
    -- Of a publisher outside: the event is published once under it.
    idempotency_key text,
    payload jsonb NOT NULL,
    pending boolean NOT NULL DEFAULT true,
    published_at timestamptz NOT NULL DEFAULT statement_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX events_pending ON {schema}.events (id) WHERE pending;
CREATE INDEX events_published ON {schema}.events (published_at);
CREATE UNIQUE INDEX events_idempotency ON {schema}.events (event, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- One row for each action that a handler takes on an event; it is done in a transaction that ends
-- it too. A handler whose condition does not hold has one row, SKIPPED.
-- Status: 0 IN_PROGRESS, 1 COMPLETED, 2 FAILED, 3 SKIPPED.
CREATE TABLE {schema}.event_executions (
    event_id bigint NOT NULL REFERENCES {schema}.events ON DELETE CASCADE,
    handler text NOT NULL,
    action_number smallint NOT NULL,
    -- As the handler had it when the event was laid out; null for a handler that was skipped.
    action jsonb,
    status smallint NOT NULL CHECK (status BETWEEN 0 AND 3),
    output jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    due_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    ended_at timestamptz,
    PRIMARY KEY (event_id, handler, action_number)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX event_executions_open
    ON {schema}.event_executions (event_id, handler, action_number) WHERE status = 0;
