-- intend_rest_refund: writes what a payment under reversal has captured, and a refund of all that no
-- other refund is meant for, before the gateway is asked for it.
-- $1 order id, $2 the gateway's id of the payment, $3 minor units captured, $4 idempotency key of the
-- reversal, from which the refund of the rest has its own.
-- Out: one row for each refund that is meant and not known to be made: its key, its amount, and whether
-- this call wrote it.
-- A call that had to wait for another may miss what that one wrote: nothing is then meant twice, and
-- the reversal is not recorded until all refunds are made.
WITH intent AS (
    SELECT order_id, promised_minor, $3::bigint - promised_minor AS rest_minor
    FROM payment_intents
    WHERE order_id = $1::text AND status = 'REVERSING'
    FOR NO KEY UPDATE
), promised AS (
    UPDATE payment_intents p
    SET payment_id = coalesce(p.payment_id, $2::text), captured_minor = $3::bigint,
        captured_at = coalesce(p.captured_at, statement_timestamp()),
        promised_minor = p.promised_minor + i.rest_minor
    FROM intent i
    WHERE p.order_id = i.order_id
), rest AS (
    INSERT INTO payment_refunds (idempotency_key, order_id, amount_minor)
    SELECT $4::text || '/' || (SELECT count(*) FROM payment_refunds WHERE order_id = $1::text),
           order_id, rest_minor
    FROM intent
    WHERE rest_minor > 0
    RETURNING idempotency_key, amount_minor
)
SELECT idempotency_key, amount_minor, true AS fresh
FROM rest
UNION ALL
SELECT r.idempotency_key, r.amount_minor, false
FROM payment_refunds r
WHERE r.order_id = $1::text AND r.status = 'INTENDED'
