-- cancel_delivery: writes that the carrier will not fetch a delivery.
-- $1 order id, $2 warehouse.  Out: no row. Nothing is written when it was written before.
WITH ordered AS (
    SELECT order_id
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
)
UPDATE delivery_schedule d
SET status = 'CANCELLED', cancelled_at = statement_timestamp()
FROM ordered o
WHERE d.order_id = o.order_id AND d.warehouse = $2::text AND d.status IN ('PENDING', 'SCHEDULED')
