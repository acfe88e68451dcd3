-- list_orders: orders by their ids, a page at a time.
-- $1 status or null for any, $2 customer's e-mail or null for any, $3 the order id after which to begin,
-- $4 how many at most.
-- Out: a row for each order, in the order of their ids. Index: orders_pkey.
SELECT order_id, workflow_id, status, customer_email, currency::text AS currency, total_minor,
       acknowledged_at
FROM orders
WHERE order_id > $3::text
  AND ($1::text IS NULL OR status = $1::text)
  AND ($2::text IS NULL OR customer_email = $2::text)
ORDER BY order_id
LIMIT $4::bigint
