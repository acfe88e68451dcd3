-- cancel_delivery: writes that the carrier will not fetch the order.
-- $1 order id.  Out: the number of rows written: 0 when it was written before.
UPDATE delivery_schedule d
SET status = 'CANCELLED', cancelled_at = statement_timestamp()
FROM orders o
WHERE o.order_id = $1::text AND o.status = 'UNWINDING' AND d.order_id = o.order_id
  AND d.status IN ('PENDING', 'SCHEDULED')
