-- refuse_delivery: keeps why the carrier refused a delivery.
-- $1 order id, $2 warehouse, $3 the carrier's code.  Out: no row.  As decline_payment.
WITH ordered AS (
    SELECT order_id, status
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
)
UPDATE delivery_schedule d
SET status = 'REFUSED', refusal_code = $3::text
FROM ordered o
WHERE d.order_id = o.order_id AND d.warehouse = $2::text AND o.status = 'BOOKED'
  AND d.status = 'PENDING'
