-- refuse_part_refund: keeps why the gateway gave nothing back; the amount is free for other refunds.
-- $1 idempotency key of the refund, $2 the gateway's code.
-- Out: no row where it was written before, else the order.
WITH intent AS (
    SELECT p.order_id
    FROM payment_intents p
    WHERE p.order_id = (SELECT order_id FROM payment_refunds WHERE idempotency_key = $1::text)
    FOR NO KEY UPDATE
), refused AS (
    UPDATE payment_refunds r
    SET status = 'REFUSED', refusal_code = $2::text, ended_at = statement_timestamp()
    FROM intent i
    WHERE r.order_id = i.order_id AND r.idempotency_key = $1::text AND r.status = 'INTENDED'
    RETURNING r.order_id, r.amount_minor
)
UPDATE payment_intents p
SET promised_minor = p.promised_minor - r.amount_minor
FROM refused r
WHERE p.order_id = r.order_id
RETURNING p.order_id
