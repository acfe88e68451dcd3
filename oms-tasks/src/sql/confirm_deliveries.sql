-- confirm_deliveries: writes what the carrier promised for all deliveries of an order, once, and the stage's
-- notification.
-- $1 order id, $2 warehouses, $3 tracking numbers, $4 delivery dates, $5 body of the notification.
-- Out: as capture_payment.
WITH ordered AS (
    SELECT order_id, status, customer_email
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), promised AS (
    SELECT unnest($2::text[]) AS warehouse, unnest($3::text[]) AS tracking_number,
           unnest($4::date[]) AS delivery_date
), scheduled AS (
    UPDATE delivery_schedule d
    SET status = 'SCHEDULED', tracking_number = p.tracking_number, delivery_date = p.delivery_date,
        scheduled_at = statement_timestamp()
    FROM ordered o
    CROSS JOIN promised p
    WHERE d.order_id = o.order_id AND d.warehouse = p.warehouse AND o.status = 'BOOKED'
      AND d.status = 'PENDING'
    RETURNING d.order_id
), advanced AS (
    UPDATE orders o
    SET status = 'SCHEDULED', updated_at = statement_timestamp()
    FROM (SELECT order_id FROM scheduled GROUP BY order_id HAVING count(*) = cardinality($2::text[])) s
    WHERE o.order_id = s.order_id
    RETURNING o.order_id
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT o.order_id, 'SCHEDULED', o.customer_email, $5::text
    FROM ordered o
    JOIN advanced a ON a.order_id = o.order_id
)
SELECT status AS order_status, EXISTS (SELECT FROM advanced) AS written
FROM ordered
