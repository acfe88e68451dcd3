-- move_reservations: confirms, expires, releases or ships reservations, each once.
-- $1 order ids, $2 the status to come to: CONFIRMED, EXPIRED, RELEASED or SHIPPED.
-- Out: a row for each order that is there: its id and status, the reservation's status before and
-- after (null for none), the seconds until it may expire (null: never), and its pieces. One that may not
-- come to this status stays what it is.
-- An order that is released gets a row where it had none, so that it gets no pieces any more. As in
-- reserve_stock, the caller has locked orders and shelves.
WITH ordered AS MATERIALIZED (
    SELECT order_id, status
    FROM orders
    WHERE order_id = ANY ($1::text[])
), held AS MATERIALIZED (
    SELECT order_id, status, extract(epoch FROM expires_at - statement_timestamp())::float8 AS due_in
    FROM stock_reservations
    WHERE order_id = ANY ($1::text[])
), moving AS MATERIALIZED (
    SELECT order_id, status, status IN ('RESERVED', 'CONFIRMED') AS has_pieces
    FROM held
    WHERE CASE $2::text
          WHEN 'CONFIRMED' THEN status = 'RESERVED'
          WHEN 'EXPIRED' THEN status = 'RESERVED' AND due_in <= 0
          WHEN 'RELEASED' THEN status IN ('BACKORDERED', 'RESERVED', 'CONFIRMED', 'EXPIRED')
          WHEN 'SHIPPED' THEN status = 'CONFIRMED'
          END
), pieces AS MATERIALIZED (
    SELECT p.order_id, p.sku, p.warehouse, p.quantity
    FROM reservation_pieces p
    JOIN moving m ON m.order_id = p.order_id
    WHERE m.has_pieces AND $2::text <> 'CONFIRMED'
), given_back AS (
    UPDATE warehouse_stock s
    SET booked = s.booked - p.quantity,
        on_hand = s.on_hand - CASE $2::text WHEN 'SHIPPED' THEN p.quantity ELSE 0 END,
        shipped = s.shipped + CASE $2::text WHEN 'SHIPPED' THEN p.quantity ELSE 0 END,
        updated_at = statement_timestamp()
    FROM (SELECT sku, warehouse, sum(quantity)::bigint AS quantity
          FROM pieces
          GROUP BY sku, warehouse) p
    WHERE s.sku = p.sku AND s.warehouse = p.warehouse
), freed AS (
    DELETE FROM reservation_pieces r
    USING pieces p
    WHERE $2::text <> 'SHIPPED' AND r.order_id = p.order_id AND r.sku = p.sku
      AND r.warehouse = p.warehouse
), moved AS (
    UPDATE stock_reservations r
    SET status = $2::text, expires_at = NULL,
        ended_at = CASE WHEN $2::text <> 'CONFIRMED' THEN statement_timestamp() END
    FROM moving m
    WHERE r.order_id = m.order_id
), closed AS (
    INSERT INTO stock_reservations (order_id, status, ended_at)
    SELECT o.order_id, 'RELEASED', statement_timestamp()
    FROM ordered o
    WHERE $2::text = 'RELEASED' AND NOT EXISTS (SELECT FROM held h WHERE h.order_id = o.order_id)
    ORDER BY o.order_id
    RETURNING order_id
)
SELECT o.order_id, o.status AS order_status, h.status AS before,
       CASE WHEN m.order_id IS NOT NULL OR c.order_id IS NOT NULL THEN $2::text
            ELSE h.status END AS after,
       h.due_in,
       (SELECT coalesce(sum(l.quantity), 0)::bigint FROM reservation_lines l
        WHERE l.order_id = o.order_id) AS pieces
FROM ordered o
LEFT JOIN held h ON h.order_id = o.order_id
LEFT JOIN moving m ON m.order_id = o.order_id
LEFT JOIN closed c ON c.order_id = o.order_id
