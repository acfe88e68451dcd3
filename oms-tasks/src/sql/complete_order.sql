-- complete_order: completes a scheduled order and writes its last notification.
-- $1 order id, $2 body of the notification.
-- Out: no row for an unknown order, else the order's status before. Nothing is written for an
-- order in another state.
WITH ordered AS (
    SELECT order_id, status, customer_email
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), completed AS (
    UPDATE orders o
    SET status = 'COMPLETED', completed_at = statement_timestamp(),
        updated_at = statement_timestamp()
    FROM ordered
    WHERE o.order_id = ordered.order_id AND ordered.status = 'SCHEDULED'
    RETURNING o.order_id
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT o.order_id, 'COMPLETED', o.customer_email, $2::text
    FROM ordered o
    JOIN completed c ON c.order_id = o.order_id
)
SELECT status AS order_status FROM ordered
