-- record_refund: writes what the gateway gave back, once.
-- $1 order id, $2 refund id or null when nothing had been charged, $3 the charge's id or null.
-- Out: the number of rows written: 0 when it was written before.
UPDATE payments p
SET status = CASE WHEN $2::text IS NULL THEN 'VOIDED' ELSE 'REFUNDED' END,
    refund_id = $2::text,
    charge_id = coalesce(p.charge_id, $3::text),
    refunded_minor = CASE WHEN $2::text IS NULL THEN 0 ELSE p.amount_minor END,
    refunded_at = CASE WHEN $2::text IS NULL THEN NULL ELSE statement_timestamp() END
FROM orders o
WHERE o.order_id = $1::text AND o.status = 'UNWINDING' AND p.order_id = o.order_id
  AND p.status IN ('PENDING', 'CAPTURED')
