-- book_stock: books all pieces of a paid order or none, in the main warehouse, for many orders, and writes
-- the stage's notifications.
-- $1 order ids, $2 bodies of the notifications.
-- Out: a row for each order that is there: its id, its status before, the skus that are short, and the
-- pieces wanted in all. Nothing is written for an order in another state.
-- A sku is short where there are not enough pieces for all of these orders together: then none of
-- those that want it is booked, though some could be by themselves.
-- Orders are locked in the order of their ids, then shelves in that of their skus, so that two calls
-- cannot wait for each other. The lock gives each shelf as last committed; the update then meets
-- that same version.
WITH given AS MATERIALIZED (
    SELECT DISTINCT ON (v.order_id) v.order_id, v.body
    FROM (SELECT unnest($1::text[]) AS order_id, unnest($2::text[]) AS body) v
    ORDER BY v.order_id
), ordered AS MATERIALIZED (
    SELECT order_id, status, customer_email
    FROM orders
    WHERE order_id = ANY ($1::text[])
    ORDER BY order_id
    FOR NO KEY UPDATE
), items AS MATERIALIZED (
    SELECT order_id, sku, sum(quantity)::bigint AS quantity
    FROM order_items
    WHERE order_id = ANY ($1::text[])
    GROUP BY order_id, sku
), wanted AS MATERIALIZED (
    SELECT i.order_id, i.sku, i.quantity
    FROM items i
    JOIN ordered o ON o.order_id = i.order_id
    WHERE o.status = 'PAID'
), demand AS MATERIALIZED (
    SELECT sku, sum(quantity)::bigint AS quantity
    FROM wanted
    GROUP BY sku
), shelves AS MATERIALIZED (
    SELECT s.sku, s.on_hand - s.booked AS free
    FROM warehouse_stock s
    WHERE s.sku = ANY (ARRAY(SELECT sku FROM demand)) AND s.warehouse = 'main'
    ORDER BY s.sku
    FOR NO KEY UPDATE
), short AS MATERIALIZED (
    SELECT w.order_id, array_agg(w.sku ORDER BY w.sku) AS skus
    FROM wanted w
    JOIN demand d ON d.sku = w.sku
    LEFT JOIN shelves s ON s.sku = w.sku
    WHERE coalesce(s.free, 0) < d.quantity
    GROUP BY w.order_id
), granted AS MATERIALIZED (
    SELECT w.order_id, w.sku, w.quantity
    FROM wanted w
    WHERE NOT EXISTS (SELECT FROM short s WHERE s.order_id = w.order_id)
), taken AS (
    UPDATE warehouse_stock s
    SET booked = s.booked + g.quantity, updated_at = statement_timestamp()
    FROM (SELECT sku, sum(quantity)::bigint AS quantity FROM granted GROUP BY sku) g
    WHERE s.sku = g.sku AND s.warehouse = 'main'
), booked AS (
    INSERT INTO stock_bookings (order_id, sku, quantity)
    SELECT order_id, sku, quantity
    FROM granted
), advanced AS (
    UPDATE orders o
    SET status = 'BOOKED', updated_at = statement_timestamp()
    WHERE o.order_id = ANY (ARRAY(SELECT DISTINCT order_id FROM granted))
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT o.order_id, 'BOOKED', o.customer_email, v.body
    FROM ordered o
    JOIN given v ON v.order_id = o.order_id
    JOIN (SELECT DISTINCT order_id FROM granted) g ON g.order_id = o.order_id
)
SELECT o.order_id, o.status AS order_status, coalesce(s.skus, '{}') AS short,
       coalesce(p.pieces, 0) AS pieces
FROM ordered o
LEFT JOIN short s ON s.order_id = o.order_id
LEFT JOIN (
    SELECT order_id, sum(quantity)::bigint AS pieces
    FROM items
    GROUP BY order_id
) p ON p.order_id = o.order_id
