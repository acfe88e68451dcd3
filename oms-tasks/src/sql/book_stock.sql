-- book_stock: books all pieces of a paid order or none, and writes the stage's notification.
-- $1 order id, $2 body of the notification.
-- Out: no row for an unknown order, else the order's status before, the skus that are short, and
-- the pieces wanted in all. Nothing is written for an order in another state.
-- Shelves are locked in the order of their skus, so that two orders cannot wait for each other.
-- The lock gives each shelf as last committed; the update then meets that same version.
WITH ordered AS (
    SELECT order_id, status, customer_email
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), wanted AS MATERIALIZED (
    SELECT i.sku, sum(i.quantity)::bigint AS quantity
    FROM ordered o
    JOIN order_items i ON i.order_id = o.order_id
    WHERE o.status = 'PAID'
    GROUP BY i.sku
), shelves AS MATERIALIZED (
    SELECT s.sku, s.on_hand - s.booked AS free
    FROM inventory s
    WHERE s.sku = ANY (ARRAY(SELECT sku FROM wanted))
    ORDER BY s.sku
    FOR NO KEY UPDATE
), short AS (
    SELECT w.sku
    FROM wanted w
    LEFT JOIN shelves s ON s.sku = w.sku
    WHERE coalesce(s.free, 0) < w.quantity
), taken AS (
    UPDATE inventory s
    SET booked = s.booked + w.quantity, updated_at = statement_timestamp()
    FROM wanted w
    WHERE s.sku = w.sku AND NOT EXISTS (SELECT FROM short)
    RETURNING s.sku, w.quantity
), booked AS (
    INSERT INTO stock_bookings (order_id, sku, quantity)
    SELECT $1::text, sku, quantity
    FROM taken
), advanced AS (
    UPDATE orders o
    SET status = 'BOOKED', updated_at = statement_timestamp()
    WHERE o.order_id = $1::text AND EXISTS (SELECT FROM taken)
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT order_id, 'BOOKED', customer_email, $2::text
    FROM ordered
    WHERE EXISTS (SELECT FROM taken)
)
SELECT status AS order_status,
       ARRAY(SELECT sku FROM short ORDER BY sku) AS short,
       (SELECT coalesce(sum(quantity), 0)::bigint FROM order_items WHERE order_id = $1::text)
           AS pieces
FROM ordered
