-- find_event: the event that was published under a key. $1 event, $2 idempotency key, $3 payload.
-- Out: its message id, and whether its payload is the same.
SELECT message_id, payload = $3::jsonb AS same
FROM {schema}.events
WHERE event = $1::text AND idempotency_key = $2::text
