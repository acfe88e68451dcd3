-- intend_deliveries: writes the rows of an order's deliveries before the carrier is called, or finds them: one
-- for each warehouse that has pieces of it.
-- $1 order id, $2 idempotency key of the step; with the warehouse behind it, that of a booking at the carrier.
-- Out: no row for an unknown order, else one for each delivery, by warehouse: the order's status, whom, where
-- and when (null: at any time) to deliver, the delivery, and its pieces; a row that was there keeps its key.
-- The delivery is null when the order is in no state to be delivered. On the update that changes nothing see
-- intend_payment.
WITH ordered AS (
    SELECT order_id, status, customer_name, ship_to, deliver_from, deliver_to
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), parcels AS MATERIALIZED (
    SELECT h.warehouse, sum(h.quantity)::bigint AS pieces
    FROM (
        SELECT warehouse, quantity FROM reservation_pieces WHERE order_id = $1::text
        UNION ALL
        SELECT 'main', quantity FROM stock_bookings WHERE order_id = $1::text
    ) h
    GROUP BY h.warehouse
), intended AS (
    INSERT INTO delivery_schedule (order_id, warehouse, idempotency_key)
    SELECT o.order_id, p.warehouse, $2::text || '/' || p.warehouse
    FROM ordered o
    CROSS JOIN parcels p
    WHERE o.status IN ('BOOKED', 'SCHEDULED', 'COMPLETED')
    ON CONFLICT (order_id, warehouse) DO UPDATE
    SET idempotency_key = delivery_schedule.idempotency_key
    RETURNING warehouse, idempotency_key, status, tracking_number, delivery_date, refusal_code
)
SELECT o.status AS order_status, o.customer_name, o.ship_to, o.deliver_from, o.deliver_to,
       d.warehouse, d.idempotency_key, d.status, d.tracking_number, d.delivery_date, d.refusal_code,
       p.pieces
FROM ordered o
LEFT JOIN intended d ON true
LEFT JOIN parcels p ON p.warehouse = d.warehouse
ORDER BY d.warehouse
