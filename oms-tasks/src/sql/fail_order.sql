-- fail_order: marks a closed order failed, once nothing of it is live, and writes the failure
-- notification where the customer's address is known.
-- $1 order id, $2 id of the failed workflow, $3 body of the notification; {reason} in it is
-- replaced by the order's reason.
-- Out: no row for an unknown order, else its status before and owner, and what is still live.
WITH ordered AS (
    SELECT order_id, status, workflow_id, customer_email, failure_reason
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), live AS (
    SELECT 'payment' AS what FROM payments
    WHERE order_id = $1::text AND status IN ('PENDING', 'CAPTURED')
    UNION ALL
    SELECT 'booking' FROM stock_bookings WHERE order_id = $1::text AND status = 'BOOKED'
    UNION ALL
    SELECT 'delivery' FROM delivery_schedule
    WHERE order_id = $1::text AND status IN ('PENDING', 'SCHEDULED')
), failed AS (
    UPDATE orders o
    SET status = 'FAILED', failed_at = statement_timestamp(), updated_at = statement_timestamp()
    FROM ordered
    WHERE o.order_id = ordered.order_id AND ordered.status = 'UNWINDING'
      AND ordered.workflow_id = $2::uuid AND NOT EXISTS (SELECT FROM live)
    RETURNING o.order_id
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT o.order_id, 'FAILED', o.customer_email, replace($3::text, '{reason}', o.failure_reason)
    FROM ordered o
    JOIN failed f ON f.order_id = o.order_id
    WHERE o.customer_email IS NOT NULL
)
SELECT status AS order_status, workflow_id,
       ARRAY(SELECT DISTINCT what FROM live ORDER BY what) AS live
FROM ordered
