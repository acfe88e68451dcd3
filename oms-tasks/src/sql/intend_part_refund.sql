-- intend_part_refund: writes what is to be given back before the gateway is called, or finds it.
-- $1 order id, $2 idempotency key of the refund, $3 minor units.
-- Out: no row for an unknown payment, else the payment, what of it no refund is meant for (after this
-- call), and the refund under this key: null when there is not so much left. A refund that was there
-- is not fresh. A call that had to wait for one with the same key may miss it: ask again before null is
-- taken for an answer.
WITH intent AS (
    SELECT *
    FROM payment_intents
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), meant AS (
    INSERT INTO payment_refunds (idempotency_key, order_id, amount_minor)
    SELECT $2::text, order_id, $3::bigint
    FROM intent
    WHERE (status = 'CAPTURED' AND $3::bigint BETWEEN 1 AND captured_minor - promised_minor)
       OR EXISTS (SELECT FROM payment_refunds WHERE idempotency_key = $2::text)
    ON CONFLICT (idempotency_key) DO UPDATE SET idempotency_key = excluded.idempotency_key
    RETURNING order_id AS of_order, status, amount_minor, refund_id, refusal_code, xmax = 0 AS fresh
), promised AS (
    UPDATE payment_intents p
    SET promised_minor = p.promised_minor + m.amount_minor
    FROM meant m
    WHERE p.order_id = $1::text AND m.fresh
)
SELECT i.status, i.idempotency_key, i.payment_id, i.currency::text AS currency, i.captured_minor,
       i.captured_minor - i.promised_minor
           - CASE WHEN m.fresh THEN m.amount_minor ELSE 0 END AS left_minor,
       i.decline_code, i.reversal_key, i.amount_minor,
       m.of_order, m.status AS refund_status, m.amount_minor AS refund_minor, m.refund_id,
       m.refusal_code, m.fresh
FROM intent i
LEFT JOIN meant m ON true
