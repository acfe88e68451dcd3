-- capture_payment: writes that the charge was made, once, and the stage's notification.
-- $1 order id, $2 charge id, $3 body of the notification.
-- Out: no row for an unknown order, else the order's status before, and whether this call wrote.
-- Nothing is written for an order that is not waiting to be paid.
WITH ordered AS (
    SELECT order_id, status, customer_email
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), captured AS (
    UPDATE payments p
    SET status = 'CAPTURED', charge_id = $2::text, captured_at = statement_timestamp()
    FROM ordered o
    WHERE p.order_id = o.order_id AND o.status = 'ACKNOWLEDGED' AND p.status = 'PENDING'
    RETURNING p.order_id
), advanced AS (
    UPDATE orders o
    SET status = 'PAID', updated_at = statement_timestamp()
    FROM captured c
    WHERE o.order_id = c.order_id
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT o.order_id, 'PAID', o.customer_email, $3::text
    FROM ordered o
    JOIN captured c ON c.order_id = o.order_id
)
SELECT status AS order_status, EXISTS (SELECT FROM captured) AS written
FROM ordered
