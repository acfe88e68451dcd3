-- reserve_stock: sets the pieces of orders aside that were chosen for them, and writes the stage's
-- notifications. An order gets all of its pieces or none.
-- $1 order ids, $2 for each whether it waits where no pieces were chosen for it (else nothing is written for
-- it), $3 for each the seconds after which the reservation may expire, or null (as before, if ever), $4
-- bodies of the notifications of a reservation, $5 of a back-order; the pieces that were chosen: $6 order
-- ids, $7 skus, $8 warehouses, $9 quantities.
-- Out: a row for each order that is there: its id and status, the reservation's status before and after
-- (null for none), and the pieces wanted in all.
-- The caller has locked the orders (find_orders), then their shelves (lock_shelves), in statements before:
-- what this one reads is what stands, and what was chosen is there. Those who wait stand in the order of $1.
WITH given AS MATERIALIZED (
    SELECT DISTINCT ON (v.order_id) v.*
    FROM (SELECT generate_subscripts($1::text[], 1) AS number, unnest($1::text[]) AS order_id,
                 unnest($2::bool[]) AS waits, unnest($3::int[]) AS seconds,
                 unnest($4::text[]) AS reserved_body, unnest($5::text[]) AS waiting_body) v
    ORDER BY v.order_id, v.number
), granted AS MATERIALIZED (
    SELECT unnest($6::text[]) AS order_id, unnest($7::text[]) AS sku, unnest($8::text[]) AS warehouse,
           unnest($9::bigint[]) AS quantity
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
), outcome AS MATERIALIZED (
    SELECT o.order_id, o.customer_email, h.status AS held,
           CASE WHEN o.order_id IN (SELECT order_id FROM granted) THEN 'RESERVED'
                WHEN g.waits THEN 'BACKORDERED' END AS status,
           g.number, g.seconds, g.reserved_body, g.waiting_body
    FROM ordered o
    JOIN given g ON g.order_id = o.order_id
    LEFT JOIN held h ON h.order_id = o.order_id
    WHERE o.status = 'ACKNOWLEDGED' AND coalesce(h.status, 'EXPIRED') IN ('BACKORDERED', 'EXPIRED')
), taken AS (
    UPDATE warehouse_stock s
    SET booked = s.booked + g.quantity, updated_at = statement_timestamp()
    FROM (SELECT sku, warehouse, sum(quantity)::bigint AS quantity
          FROM granted
          GROUP BY sku, warehouse) g
    WHERE s.sku = g.sku AND s.warehouse = g.warehouse
), written AS (
    INSERT INTO stock_reservations AS r (order_id, status, hold_seconds, reserved_at, expires_at)
    SELECT order_id, status, seconds,
           CASE WHEN status = 'RESERVED' THEN statement_timestamp() END,
           CASE WHEN status = 'RESERVED'
                THEN statement_timestamp() + make_interval(secs => seconds) END
    FROM outcome
    WHERE status IS NOT NULL
    ORDER BY number
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
    SELECT i.order_id, i.sku, i.quantity
    FROM items i
    JOIN outcome o ON o.order_id = i.order_id
    WHERE o.held IS NULL AND o.status IS NOT NULL
), pieces AS (
    INSERT INTO reservation_pieces (order_id, sku, warehouse, quantity)
    SELECT order_id, sku, warehouse, quantity
    FROM granted
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT order_id, CASE status WHEN 'RESERVED' THEN 'BOOKED' ELSE 'BACKORDERED' END,
           customer_email, CASE status WHEN 'RESERVED' THEN reserved_body ELSE waiting_body END
    FROM outcome
    WHERE status IS NOT NULL
    ON CONFLICT (order_id, stage, part) DO NOTHING
)
SELECT o.order_id, o.status AS order_status, h.status AS before,
       coalesce(u.status, h.status) AS after, coalesce(p.pieces, 0) AS pieces
FROM ordered o
LEFT JOIN held h ON h.order_id = o.order_id
LEFT JOIN outcome u ON u.order_id = o.order_id
LEFT JOIN (
    SELECT order_id, sum(quantity)::bigint AS pieces
    FROM items
    GROUP BY order_id
) p ON p.order_id = o.order_id
