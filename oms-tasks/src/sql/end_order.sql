-- end_order: marks a closed order failed, or cancelled if its customer did so, once nothing of it is
-- live, and writes the notification where the customer's address is known.
-- $1 order id, $2 id of the run, $3 body of the notification of a failure, $4 of a cancellation.
-- Out: no row for an unknown order, else its status before and after and owner, and what is still live.
WITH ordered AS (
    SELECT order_id, status, workflow_id, customer_email,
           CASE WHEN cancelled_at IS NULL THEN 'FAILED' ELSE 'CANCELLED' END AS status_after
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), live AS (
    SELECT 'payment' AS what FROM payments
    WHERE order_id = $1::text AND status IN ('PENDING', 'CAPTURED')
    UNION ALL
    SELECT 'payment' FROM payment_intents
    WHERE order_id = $1::text AND status IN ('INTENDED', 'AUTHORISED', 'CAPTURED', 'REVERSING')
    UNION ALL
    SELECT 'booking' FROM stock_bookings WHERE order_id = $1::text AND status = 'BOOKED'
    UNION ALL
    SELECT 'reservation' FROM stock_reservations
    WHERE order_id = $1::text AND status NOT IN ('EXPIRED', 'RELEASED')
    UNION ALL
    SELECT 'delivery' FROM delivery_schedule
    WHERE order_id = $1::text AND status IN ('PENDING', 'SCHEDULED')
), ended AS (
    UPDATE orders o
    SET status = ordered.status_after, failed_at = statement_timestamp(),
        updated_at = statement_timestamp()
    FROM ordered
    WHERE o.order_id = ordered.order_id AND ordered.status = 'UNWINDING'
      AND ordered.workflow_id = $2::uuid AND NOT EXISTS (SELECT FROM live)
    RETURNING o.order_id
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT o.order_id, o.status_after, o.customer_email,
           CASE o.status_after WHEN 'FAILED' THEN $3::text ELSE $4::text END
    FROM ordered o
    JOIN ended e ON e.order_id = o.order_id
    WHERE o.customer_email IS NOT NULL
)
SELECT status AS order_status, status_after, workflow_id,
       ARRAY(SELECT DISTINCT what FROM live ORDER BY what) AS live
FROM ordered
