-- intend_refund: writes the key of the refund before the gateway is called, or finds it.
-- $1 order id, $2 id of the failed workflow, $3 idempotency key of the refund.
-- Out: no row for an unknown order, else its status and owner and the payment, null where there
-- is none. A key that was there stays, so that a second unwinding refunds under the first's.
WITH ordered AS (
    SELECT order_id, status, workflow_id
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), intended AS (
    UPDATE payments p
    SET refund_key = CASE WHEN p.status IN ('PENDING', 'CAPTURED')
                          THEN coalesce(p.refund_key, $3::text) ELSE p.refund_key END
    FROM ordered o
    WHERE p.order_id = o.order_id AND o.status IN ('UNWINDING', 'FAILED', 'CANCELLED')
      AND o.workflow_id = $2::uuid
    RETURNING p.status, p.idempotency_key, p.refund_key, p.refund_id, p.refunded_minor,
              p.amount_minor, p.currency
)
SELECT o.status AS order_status, o.workflow_id, p.status, p.idempotency_key, p.refund_key,
       p.refund_id, p.refunded_minor, p.amount_minor, p.currency::text AS currency
FROM ordered o
LEFT JOIN intended p ON true
