-- withdraw_delivery: writes that the carrier will not fetch an order that is still open.
-- $1 order id.
-- Out: no row.
UPDATE delivery_schedule
SET status = 'CANCELLED', cancelled_at = statement_timestamp()
WHERE order_id = $1::text AND status IN ('PENDING', 'SCHEDULED')
