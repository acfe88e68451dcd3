-- cancel_order: closes an order that its customer cancels, unless it is too late.
-- $1 order id, $2 reason.
-- Out: no row for an unknown order, else its status and whether it was cancelled before, its run, and
-- whether this call closed it.
WITH ordered AS (
    SELECT order_id, status, workflow_id, cancelled_at IS NOT NULL AS was_cancelled
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), cancelled AS (
    UPDATE orders o
    SET status = 'UNWINDING', cancelled_at = statement_timestamp(), failure_reason = $2::text,
        updated_at = statement_timestamp()
    FROM ordered
    WHERE o.order_id = ordered.order_id
      AND ordered.status IN ('ACKNOWLEDGED', 'PAID', 'BOOKED', 'SCHEDULED')
    RETURNING o.order_id
)
SELECT status AS order_status, was_cancelled, workflow_id,
       EXISTS (SELECT FROM cancelled) AS written
FROM ordered
