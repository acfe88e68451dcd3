-- move_delivery: writes what a carrier says of a delivery, once, and moves it on if that is further than
-- what is known; where it has arrived or failed, the stage's notification too.
-- $1 tracking number, $2 status, $3 when it came to it, $4 body of the notification that it has arrived, $5
-- and that it failed; {order_id} in them is replaced by the order.
-- Out: no row for an unknown number, else the order, the delivery's status, whether this was heard for
-- the first time, and whether it moved on.
-- The delivery's row is locked, so that what comes at the same time is looked at one by one.
WITH found AS (
    SELECT o.order_id, o.customer_email, d.status, d.progress
    FROM orders o
    JOIN delivery_schedule d ON d.order_id = o.order_id
    WHERE d.tracking_number = $1::text
    FOR NO KEY UPDATE OF o, d
), heard AS (
    INSERT INTO delivery_updates (order_id, status, happened_at)
    SELECT order_id, $2::text, $3::timestamptz
    FROM found
    ON CONFLICT (order_id, status) DO NOTHING
    RETURNING order_id
), moved AS (
    UPDATE delivery_schedule d
    SET progress = $2::text, progress_at = $3::timestamptz
    FROM found f
    JOIN heard h ON h.order_id = f.order_id
    WHERE d.order_id = f.order_id AND f.status = 'SCHEDULED'
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
    WHERE $2::text IN ('DELIVERED', 'FAILED') AND f.customer_email IS NOT NULL
)
SELECT f.order_id, f.status, EXISTS (SELECT FROM heard) AS heard, EXISTS (SELECT FROM moved) AS moved
FROM found f
