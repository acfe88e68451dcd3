-- Keeps what a step gave that this transaction has taken.
-- $1 idempotency key, $2 output
UPDATE oms_conductor.inbox SET output = $2 WHERE idempotency_key = $1 AND output IS NULL
