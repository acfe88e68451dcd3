-- intend_capture: writes the key of the capture before the gateway is called, or finds it.
-- $1 order id, $2 idempotency key of the capture.
-- Out: no row for an unknown payment, else the payment; a key that was there stays, and is not fresh.
WITH intent AS (
    SELECT order_id, status, capture_key
    FROM payment_intents
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
)
UPDATE payment_intents p
SET capture_key = CASE WHEN i.status = 'AUTHORISED' THEN coalesce(i.capture_key, $2::text)
                       ELSE i.capture_key END
FROM intent i
WHERE p.order_id = i.order_id
RETURNING i.capture_key IS NULL AS fresh, p.capture_key, p.idempotency_key, p.status,
          p.amount_minor, p.currency::text AS currency, p.payment_id, p.decline_code,
          p.captured_minor, p.reversal_key
