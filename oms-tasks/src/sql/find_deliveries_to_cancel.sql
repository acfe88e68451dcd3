-- find_deliveries_to_cancel: the deliveries of an order that is undone.
-- $1 order id.
-- Out: no row for an unknown order, else one for each delivery, by warehouse: the order's status and owner and
-- the delivery, null where there is none. A closed order gets no new delivery, so what is read here stays true.
SELECT o.status AS order_status, o.workflow_id, d.warehouse, d.status, d.idempotency_key
FROM orders o
LEFT JOIN delivery_schedule d ON d.order_id = o.order_id
WHERE o.order_id = $1::text
ORDER BY d.warehouse
