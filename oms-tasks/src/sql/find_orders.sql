-- find_orders: what orders are, locked until the transaction ends.
-- $1 order ids.  Out: a row for each that is there.
SELECT order_id, status, workflow_id, currency::text AS currency, total_minor
FROM orders
WHERE order_id = ANY ($1::text[])
ORDER BY order_id
FOR NO KEY UPDATE
