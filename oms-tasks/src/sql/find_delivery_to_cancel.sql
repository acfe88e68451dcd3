-- find_delivery_to_cancel: the delivery of a closed order.
-- $1 order id.
-- Out: no row for an unknown order, else its status and owner and the delivery, null where there
-- is none. A closed order gets no new delivery, so what is read here stays true.
SELECT o.status AS order_status, o.workflow_id, d.status, d.idempotency_key, d.tracking_number
FROM orders o
LEFT JOIN delivery_schedule d ON d.order_id = o.order_id
WHERE o.order_id = $1::text
