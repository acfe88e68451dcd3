-- list_event_handlers: handlers by name. $1 event (null = all).
SELECT definition
FROM {schema}.event_handlers
WHERE $1::text IS NULL OR event = $1::text
ORDER BY name
