-- reserve_stock: sets all pieces of orders aside or none, and writes the stage's notifications.
-- $1 order ids, $2 for each whether it waits where a shelf is short (else nothing is written for it),
-- $3 for each the seconds after which the reservation may expire, or null (as before, if
-- ever), $4 bodies of the
-- notifications of a reservation, $5 of a back-order.
-- Out: a row for each order that is there: its id and status, the reservation's status before and
-- after (null for none), the skus that are short, and the pieces wanted in all.
-- A sku is short where there are not enough pieces for all of these orders together: then none of
-- those that want it gets any, though some could by themselves.
-- The caller has locked the orders (find_orders), then their shelves (lock_shelves), in statements
-- before: what this one reads is what stands.
WITH given AS MATERIALIZED (
    SELECT DISTINCT ON (v.order_id) v.*
    FROM (SELECT unnest($1::text[]) AS order_id, unnest($2::bool[]) AS waits,
                 unnest($3::int[]) AS seconds, unnest($4::text[]) AS reserved_body,
                 unnest($5::text[]) AS waiting_body) v
    ORDER BY v.order_id
), ordered AS MATERIALIZED (
    SELECT order_id, status, customer_email
    FROM orders
    WHERE order_id = ANY ($1::text[])
), held AS MATERIALIZED (
    SELECT order_id, status
    FROM stock_reservations
    WHERE order_id = ANY ($1::text[])
), items AS MATERIALIZED (
    SELECT order_id, sku, sum(quantity)::bigint AS quantity
    FROM order_items
    WHERE order_id = ANY ($1::text[])
    GROUP BY order_id, sku
), asking AS MATERIALIZED (
    SELECT o.order_id, o.customer_email, h.status AS held
    FROM ordered o
    LEFT JOIN held h ON h.order_id = o.order_id
    WHERE o.status = 'ACKNOWLEDGED' AND coalesce(h.status, 'EXPIRED') IN ('BACKORDERED', 'EXPIRED')
), wanted AS MATERIALIZED (
    SELECT i.order_id, i.sku, i.quantity
    FROM items i
    JOIN asking a ON a.order_id = i.order_id
), demand AS MATERIALIZED (
    SELECT sku, sum(quantity)::bigint AS quantity
    FROM wanted
    GROUP BY sku
), shelves AS MATERIALIZED (
    SELECT s.sku, s.on_hand - s.booked AS free
    FROM inventory s
    WHERE s.sku = ANY (ARRAY(SELECT sku FROM demand))
), short AS MATERIALIZED (
    SELECT w.order_id, array_agg(w.sku ORDER BY w.sku) AS skus
    FROM wanted w
    JOIN demand d ON d.sku = w.sku
    LEFT JOIN shelves s ON s.sku = w.sku
    WHERE coalesce(s.free, 0) < d.quantity
    GROUP BY w.order_id
), outcome AS MATERIALIZED (
    SELECT a.order_id, a.customer_email, a.held,
           CASE WHEN s.order_id IS NULL THEN 'RESERVED'
                WHEN g.waits THEN 'BACKORDERED' END AS status,
           g.seconds, g.reserved_body, g.waiting_body
    FROM asking a
    JOIN given g ON g.order_id = a.order_id
    LEFT JOIN short s ON s.order_id = a.order_id
), granted AS MATERIALIZED (
    SELECT w.order_id, w.sku, w.quantity
    FROM wanted w
    JOIN outcome o ON o.order_id = w.order_id
    WHERE o.status = 'RESERVED'
), taken AS (
    UPDATE inventory s
    SET booked = s.booked + g.quantity, updated_at = statement_timestamp()
    FROM (SELECT sku, sum(quantity)::bigint AS quantity FROM granted GROUP BY sku) g
    WHERE s.sku = g.sku
), written AS (
    INSERT INTO stock_reservations AS r (order_id, status, hold_seconds, reserved_at, expires_at)
    SELECT order_id, status, seconds,
           CASE WHEN status = 'RESERVED' THEN statement_timestamp() END,
           CASE WHEN status = 'RESERVED'
                THEN statement_timestamp() + make_interval(secs => seconds) END
    FROM outcome
    WHERE status IS NOT NULL
    ORDER BY order_id
    ON CONFLICT (order_id) DO UPDATE
    SET status = excluded.status, reserved_at = excluded.reserved_at,
        hold_seconds = coalesce(excluded.hold_seconds, r.hold_seconds),
        expires_at = CASE WHEN excluded.status = 'RESERVED'
            THEN statement_timestamp()
                + make_interval(secs => coalesce(excluded.hold_seconds, r.hold_seconds)) END,
        ended_at = NULL
    RETURNING order_id
), lines AS (
    INSERT INTO reservation_lines (order_id, sku, quantity)
    SELECT w.order_id, w.sku, w.quantity
    FROM wanted w
    JOIN outcome o ON o.order_id = w.order_id
    WHERE o.held IS NULL AND o.status IS NOT NULL
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT order_id, CASE status WHEN 'RESERVED' THEN 'BOOKED' ELSE 'BACKORDERED' END,
           customer_email, CASE status WHEN 'RESERVED' THEN reserved_body ELSE waiting_body END
    FROM outcome
    WHERE status IS NOT NULL
    ON CONFLICT (order_id, stage, part) DO NOTHING
)
SELECT o.order_id, o.status AS order_status, h.status AS before,
       coalesce(u.status, h.status) AS after, coalesce(s.skus, '{}') AS short,
       coalesce(p.pieces, 0) AS pieces
FROM ordered o
LEFT JOIN held h ON h.order_id = o.order_id
LEFT JOIN outcome u ON u.order_id = o.order_id
LEFT JOIN short s ON s.order_id = o.order_id
LEFT JOIN (
    SELECT order_id, sum(quantity)::bigint AS pieces
    FROM items
    GROUP BY order_id
) p ON p.order_id = o.order_id
