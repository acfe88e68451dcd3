-- take_events: locks events whose handlers have not been asked yet, oldest first.
-- $1 how many at most.
SELECT id, event, message_id, payload
FROM {schema}.events
WHERE pending
ORDER BY id
LIMIT $1::bigint
FOR UPDATE SKIP LOCKED
