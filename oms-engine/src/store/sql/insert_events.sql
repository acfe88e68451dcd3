-- insert_events: publishes events. $1 events, $2 message ids, $3 idempotency keys (null = none),
-- $4 payloads. Out: a row for each that is new.
INSERT INTO {schema}.events (event, message_id, idempotency_key, payload)
SELECT event, message_id, idempotency_key, payload
FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[])
    WITH ORDINALITY AS x(event, message_id, idempotency_key, payload, ord)
ORDER BY ord
ON CONFLICT (event, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING message_id
