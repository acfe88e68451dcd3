-- record_capture: writes that the money was taken, once.
-- $1 order id, $2 minor units taken.
-- Out: no row for an unknown payment, else its status before and whether this call wrote.
WITH intent AS (
    SELECT order_id, status
    FROM payment_intents
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), captured AS (
    UPDATE payment_intents p
    SET status = 'CAPTURED', captured_minor = $2::bigint, captured_at = statement_timestamp()
    FROM intent i
    WHERE p.order_id = i.order_id AND i.status = 'AUTHORISED'
    RETURNING p.order_id
)
SELECT status, EXISTS (SELECT FROM captured) AS written
FROM intent
