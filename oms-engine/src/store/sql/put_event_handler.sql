-- put_event_handler: registers a handler in place of the one of its name.
-- $1 name, $2 event, $3 whether it is active, $4 definition
INSERT INTO {schema}.event_handlers (name, event, active, definition)
VALUES ($1::text, $2::text, $3::bool, $4::jsonb)
ON CONFLICT (name) DO UPDATE
SET event = excluded.event, active = excluded.active, definition = excluded.definition,
    updated_at = statement_timestamp()
