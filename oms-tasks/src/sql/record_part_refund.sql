-- record_part_refund: writes that an amount was given back, once, and the notification of this refund.
-- $1 idempotency key of the refund, $2 the gateway's id of it, $3 body of the notification.
-- Out: no row where it was written before, else the order.
-- A payment that was given back in full by its parts is REFUNDED; one under reversal says so itself.
-- The payment is locked first, as all others do.
WITH intent AS (
    SELECT p.order_id
    FROM payment_intents p
    WHERE p.order_id = (SELECT order_id FROM payment_refunds WHERE idempotency_key = $1::text)
    FOR NO KEY UPDATE
), made AS (
    UPDATE payment_refunds r
    SET status = 'REFUNDED', refund_id = $2::text, ended_at = statement_timestamp()
    FROM intent i
    WHERE r.order_id = i.order_id AND r.idempotency_key = $1::text AND r.status = 'INTENDED'
    RETURNING r.order_id, r.amount_minor
), noted AS (
    INSERT INTO notifications (order_id, stage, part, recipient, body)
    SELECT o.order_id, 'REFUNDED', $1::text, o.customer_email, $3::text
    FROM orders o
    JOIN made m ON m.order_id = o.order_id
    WHERE o.customer_email IS NOT NULL
)
UPDATE payment_intents p
SET refunded_minor = p.refunded_minor + m.amount_minor,
    status = CASE WHEN p.status = 'CAPTURED' AND p.refunded_minor + m.amount_minor = p.captured_minor
                  THEN 'REFUNDED' ELSE p.status END,
    reversed_at = CASE WHEN p.status = 'CAPTURED'
                            AND p.refunded_minor + m.amount_minor = p.captured_minor
                       THEN statement_timestamp() ELSE p.reversed_at END
FROM made m
WHERE p.order_id = m.order_id
RETURNING p.order_id
