-- take_back: puts pieces of an order back on the shelves that they came from, and writes the return.
-- $1 order id, $2 return id, $3 skus, $4 pieces of each, $5 what came back (json), $6 minor units to give
-- back.
-- Out: no row.
-- Of an article that came from several warehouses, those by their names get back as much as they sent.
-- The caller has locked the order and the shelves, and looked how much can come back.
WITH back AS (
    SELECT unnest($3::text[]) AS sku, unnest($4::bigint[]) AS quantity
), sent AS (
    SELECT sku, warehouse, quantity - returned AS left_pieces,
           coalesce(sum(quantity - returned) OVER (
               PARTITION BY sku ORDER BY warehouse
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::bigint AS before
    FROM reservation_pieces
    WHERE order_id = $1::text
), placed AS MATERIALIZED (
    SELECT s.sku, s.warehouse, least(s.left_pieces, b.quantity - s.before) AS quantity
    FROM sent s
    JOIN back b ON b.sku = s.sku
    WHERE s.left_pieces > 0 AND b.quantity > s.before
), shelved AS (
    UPDATE warehouse_stock s
    SET on_hand = s.on_hand + p.quantity, shipped = s.shipped - p.quantity,
        updated_at = statement_timestamp()
    FROM placed p
    WHERE s.sku = p.sku AND s.warehouse = p.warehouse
), pieces AS (
    UPDATE reservation_pieces r
    SET returned = r.returned + p.quantity
    FROM placed p
    WHERE r.order_id = $1::text AND r.sku = p.sku AND r.warehouse = p.warehouse
)
INSERT INTO order_returns (order_id, return_id, pieces, refund_minor)
VALUES ($1::text, $2::text, $5::jsonb, $6::bigint)
