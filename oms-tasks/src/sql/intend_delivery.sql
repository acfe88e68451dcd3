-- intend_delivery: writes the delivery's row before the carrier is called, or finds it.
-- $1 order id, $2 idempotency key of the booking at the carrier.
-- Out: no row for an unknown order, else the order's status, whom, where and when (null: at any time)
-- to deliver and how many pieces, and the delivery; a row that was there keeps its key. The delivery is null when
-- the order is in no state to be delivered. On the update that changes nothing see
-- intend_payment.
WITH ordered AS (
    SELECT order_id, status, customer_name, ship_to, deliver_from, deliver_to
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), intended AS (
    INSERT INTO delivery_schedule (order_id, idempotency_key)
    SELECT order_id, $2::text
    FROM ordered
    WHERE status IN ('BOOKED', 'SCHEDULED', 'COMPLETED')
    ON CONFLICT (order_id) DO UPDATE SET idempotency_key = delivery_schedule.idempotency_key
    RETURNING idempotency_key, status, tracking_number, delivery_date, refusal_code
)
SELECT o.status AS order_status, o.customer_name, o.ship_to, o.deliver_from, o.deliver_to, d.idempotency_key, d.status,
       d.tracking_number, d.delivery_date, d.refusal_code,
       (SELECT coalesce(sum(quantity), 0)::bigint FROM order_items WHERE order_id = $1::text)
           AS pieces
FROM ordered o
LEFT JOIN intended d ON true
