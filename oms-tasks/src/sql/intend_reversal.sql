-- intend_reversal: closes a payment to all but its reversal before the gateway is called, or finds
-- that it is closed.
-- $1 order id, $2 idempotency key of the reversal.
-- Out: no row where nothing was ever meant to be paid, else the payment, and whether this call closed
-- it. One that was declined, voided or given back in full stays what it is.
WITH intent AS (
    SELECT order_id, status
    FROM payment_intents
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), stands AS (
    SELECT order_id, status IN ('INTENDED', 'AUTHORISED', 'CAPTURED') AS closes FROM intent
)
UPDATE payment_intents p
SET status = CASE WHEN s.closes THEN 'REVERSING' ELSE p.status END,
    reversal_key = CASE WHEN s.closes THEN coalesce(p.reversal_key, $2::text)
                        ELSE p.reversal_key END
FROM stands s
WHERE p.order_id = s.order_id
RETURNING s.closes AS fresh, p.idempotency_key, p.status, p.amount_minor,
          p.currency::text AS currency, p.payment_id, p.decline_code, p.captured_minor,
          p.reversal_key, p.refunded_minor
