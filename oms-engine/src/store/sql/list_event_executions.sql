-- list_event_executions: what handlers did, newest events first. $1 event (null = any),
-- $2 message id (null = any), $3 handler (null = any), $4 statuses (empty = any), $5 below this
-- event id (null = from the newest), $6 how many at most
SELECT e.id, e.message_id, x.handler, x.action_number, e.event, x.created_at, x.status,
    x.action->>'action' AS action, x.output
FROM {schema}.events e
JOIN {schema}.event_executions x ON x.event_id = e.id
WHERE ($1::text IS NULL OR e.event = $1::text)
    AND ($2::text IS NULL OR e.message_id = $2::text)
    AND ($3::text IS NULL OR x.handler = $3::text)
    AND (cardinality($4::smallint[]) = 0 OR x.status = ANY ($4::smallint[]))
    AND ($5::bigint IS NULL OR e.id < $5::bigint)
ORDER BY e.id DESC, x.handler, x.action_number
LIMIT $6::bigint
