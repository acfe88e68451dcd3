-- move_delivery: writes what a carrier says of a delivery, once, and moves it on if that is further than
-- what is known; where it has failed, or was the last of its order to arrive, the stage's notification too.
-- $1 tracking number, $2 status, $3 when it came to it, $4 body of the notification that the order has arrived,
-- $5 and that a delivery failed; {order_id} in them is replaced by the order.
-- Out: no row for an unknown number, else the order, the delivery's status, whether this was heard for
-- the first time, and whether it moved on.
-- The order is locked, then all its deliveries: what comes at the same time is looked at one by one, and who
-- is last sees what the others wrote, which a read without a lock would not.
WITH found AS MATERIALIZED (
    SELECT o.order_id, o.customer_email, d.warehouse, d.status, d.progress,
           d.tracking_number IS NOT DISTINCT FROM $1::text AS is_meant
    FROM orders o
    JOIN delivery_schedule d ON d.order_id = o.order_id
    WHERE o.order_id = (SELECT n.order_id FROM delivery_schedule n WHERE n.tracking_number = $1::text)
    FOR NO KEY UPDATE OF o, d
), heard AS (
    INSERT INTO delivery_updates (order_id, warehouse, status, happened_at)
    SELECT order_id, warehouse, $2::text, $3::timestamptz
    FROM found
    WHERE is_meant
    ON CONFLICT (order_id, warehouse, status) DO NOTHING
    RETURNING order_id
), moved AS (
    UPDATE delivery_schedule d
    SET progress = $2::text, progress_at = $3::timestamptz
    FROM found f
    JOIN heard h ON h.order_id = f.order_id
    WHERE f.is_meant AND d.order_id = f.order_id AND d.warehouse = f.warehouse
      AND f.status = 'SCHEDULED'
      AND CASE $2::text WHEN 'BOOKED' THEN 1 WHEN 'DISPATCHED' THEN 2
                        WHEN 'OUT_FOR_DELIVERY' THEN 3 ELSE 4 END
          > CASE f.progress WHEN 'BOOKED' THEN 1 WHEN 'DISPATCHED' THEN 2
                            WHEN 'OUT_FOR_DELIVERY' THEN 3 WHEN 'DELIVERED' THEN 4
                            WHEN 'FAILED' THEN 4 ELSE 0 END
    RETURNING d.order_id
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT f.order_id, CASE $2::text WHEN 'DELIVERED' THEN 'DELIVERED' ELSE 'DELIVERY_FAILED' END,
           f.customer_email,
           replace(CASE $2::text WHEN 'DELIVERED' THEN $4::text ELSE $5::text END, '{order_id}',
                   f.order_id)
    FROM found f
    JOIN moved m ON m.order_id = f.order_id
    WHERE f.is_meant AND f.customer_email IS NOT NULL
      AND ($2::text = 'FAILED' OR $2::text = 'DELIVERED' AND NOT EXISTS (
          SELECT FROM found other
          WHERE NOT other.is_meant AND other.status = 'SCHEDULED'
            AND other.progress IS DISTINCT FROM 'DELIVERED'))
    ON CONFLICT (order_id, stage, part) DO NOTHING
)
SELECT f.order_id, f.status, EXISTS (SELECT FROM heard) AS heard, EXISTS (SELECT FROM moved) AS moved
FROM found f
WHERE f.is_meant
