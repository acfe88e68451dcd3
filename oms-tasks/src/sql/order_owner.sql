-- order_owner: the run that an order belongs to, which never changes.
-- $1 order id.
-- Out: no row or one.
SELECT workflow_id
FROM orders
WHERE order_id = $1::text
