-- decline_payment: keeps why the gateway declined a charge.
-- $1 order id, $2 the gateway's code.  Out: no row.
-- An order that is being unwound keeps its row: whoever unwinds decides about the charge.
WITH ordered AS (
    SELECT order_id, status
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
)
UPDATE payments p
SET status = 'DECLINED', decline_code = $2::text
FROM ordered o
WHERE p.order_id = o.order_id AND o.status = 'ACKNOWLEDGED' AND p.status = 'PENDING'
