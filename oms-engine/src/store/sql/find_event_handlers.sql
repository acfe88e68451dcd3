-- find_event_handlers: the active handlers of these events. $1 events.
SELECT definition
FROM {schema}.event_handlers
WHERE event = ANY ($1::text[]) AND active
ORDER BY name
