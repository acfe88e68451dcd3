-- release_stock: gives the booked pieces of a closed order back to their shelves, once.
-- $1 order id, $2 id of the failed workflow.
-- Out: no row for an unknown order, else its status and owner and the pieces released by this
-- call and in all.
-- The order's lock keeps other releases and bookings of the order out; shelves are locked in the
-- order of their skus, as book_stock does.
WITH ordered AS (
    SELECT order_id, status, workflow_id
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), released AS (
    UPDATE stock_bookings b
    SET status = 'RELEASED', released_at = statement_timestamp()
    FROM ordered o
    WHERE b.order_id = o.order_id AND o.status = 'UNWINDING' AND o.workflow_id = $2::uuid
      AND b.status = 'BOOKED'
    RETURNING b.sku, b.quantity
), shelves AS MATERIALIZED (
    SELECT s.sku
    FROM warehouse_stock s
    WHERE s.sku = ANY (ARRAY(SELECT sku FROM released)) AND s.warehouse = 'main'
    ORDER BY s.sku
    FOR NO KEY UPDATE
), given_back AS (
    UPDATE warehouse_stock s
    SET booked = s.booked - r.quantity, updated_at = statement_timestamp()
    FROM released r
    JOIN shelves l ON l.sku = r.sku
    WHERE s.sku = r.sku AND s.warehouse = 'main'
)
SELECT status AS order_status, workflow_id,
       (SELECT coalesce(sum(quantity), 0)::bigint FROM released) AS released,
       (SELECT coalesce(sum(quantity), 0)::bigint FROM stock_bookings WHERE order_id = $1::text)
           AS pieces
FROM ordered
