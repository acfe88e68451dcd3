-- returnable_lines: what of an order can come back.
-- $1 order id.
-- Out: a row for each article of an order that left the house and is paid: its sku, the pieces that did
-- not come back yet, and the price of a piece. An article has one price in an order.
SELECT s.sku, s.left_pieces,
       (SELECT min(i.unit_price_minor) FROM order_items i
        WHERE i.order_id = $1::text AND i.sku = s.sku) AS unit_price_minor
FROM (
    SELECT p.sku, sum(p.quantity - p.returned)::bigint AS left_pieces
    FROM stock_reservations r
    JOIN payment_intents i ON i.order_id = r.order_id
    JOIN reservation_pieces p ON p.order_id = r.order_id
    WHERE r.order_id = $1::text AND r.status = 'SHIPPED' AND i.status = 'CAPTURED'
    GROUP BY p.sku
) s
ORDER BY s.sku
