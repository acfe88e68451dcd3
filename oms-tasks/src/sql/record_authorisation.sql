-- record_authorisation: writes that the amount is set aside, once, and the stage's notification.
-- $1 order id, $2 the gateway's id of the payment, $3 body of the notification.
-- Out: no row for an unknown payment, else its status before and whether this call wrote.
WITH intent AS (
    SELECT order_id, status
    FROM payment_intents
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), authorised AS (
    UPDATE payment_intents p
    SET status = 'AUTHORISED', payment_id = $2::text, authorised_at = statement_timestamp()
    FROM intent i
    WHERE p.order_id = i.order_id AND i.status = 'INTENDED'
    RETURNING p.order_id
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT o.order_id, 'PAID', o.customer_email, $3::text
    FROM orders o
    JOIN authorised a ON a.order_id = o.order_id
)
SELECT status, EXISTS (SELECT FROM authorised) AS written
FROM intent
