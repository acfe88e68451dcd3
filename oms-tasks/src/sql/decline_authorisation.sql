-- decline_authorisation: keeps why the gateway declined, and writes the stage's notification.
-- $1 order id, $2 the gateway's code, $3 body of the notification.  Out: no row.
-- A payment that is being reversed keeps its row: whoever reverses decides about it.
WITH declined AS (
    UPDATE payment_intents p
    SET status = 'DECLINED', decline_code = $2::text
    WHERE p.order_id = $1::text AND p.status = 'INTENDED'
    RETURNING p.order_id
)
INSERT INTO notifications (order_id, stage, recipient, body)
SELECT o.order_id, 'DECLINED', o.customer_email, $3::text
FROM orders o
JOIN declined d ON d.order_id = o.order_id
