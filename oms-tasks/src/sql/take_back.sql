-- take_back: puts pieces of an order back on their shelves, and writes the return.
-- $1 order id, $2 return id, $3 skus, $4 pieces of each, $5 what came back (json), $6 minor units to give
-- back.
-- Out: no row.
-- The caller has locked the order and the shelves, and looked how much can come back.
WITH back AS (
    SELECT unnest($3::text[]) AS sku, unnest($4::bigint[]) AS quantity
), shelved AS (
    UPDATE inventory s
    SET on_hand = s.on_hand + b.quantity, shipped = s.shipped - b.quantity,
        updated_at = statement_timestamp()
    FROM back b
    WHERE s.sku = b.sku
), lines AS (
    UPDATE reservation_lines l
    SET returned = l.returned + b.quantity
    FROM back b
    WHERE l.order_id = $1::text AND l.sku = b.sku
)
INSERT INTO order_returns (order_id, return_id, pieces, refund_minor)
VALUES ($1::text, $2::text, $5::jsonb, $6::bigint)
