-- What a step gave that is done.
-- $1 idempotency key
SELECT output FROM oms_conductor.inbox WHERE idempotency_key = $1
