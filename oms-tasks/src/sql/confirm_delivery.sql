-- confirm_delivery: writes what the carrier promised, once, and the stage's notification.
-- $1 order id, $2 tracking number, $3 delivery date, $4 body of the notification.
-- Out: as capture_payment.
WITH ordered AS (
    SELECT order_id, status, customer_email
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), scheduled AS (
    UPDATE delivery_schedule d
    SET status = 'SCHEDULED', tracking_number = $2::text, delivery_date = $3::date,
        scheduled_at = statement_timestamp()
    FROM ordered o
    WHERE d.order_id = o.order_id AND o.status = 'BOOKED' AND d.status = 'PENDING'
    RETURNING d.order_id
), advanced AS (
    UPDATE orders o
    SET status = 'SCHEDULED', updated_at = statement_timestamp()
    FROM scheduled s
    WHERE o.order_id = s.order_id
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT o.order_id, 'SCHEDULED', o.customer_email, $4::text
    FROM ordered o
    JOIN scheduled s ON s.order_id = o.order_id
)
SELECT status AS order_status, EXISTS (SELECT FROM scheduled) AS written
FROM ordered
