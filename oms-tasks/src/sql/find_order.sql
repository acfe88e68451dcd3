-- find_order: what an order is, locked until the transaction ends.
-- $1 order id.  Out: no row or one.
SELECT status, workflow_id, currency::text AS currency, total_minor
FROM orders
WHERE order_id = $1::text
FOR NO KEY UPDATE
