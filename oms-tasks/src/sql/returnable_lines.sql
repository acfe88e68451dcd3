-- returnable_lines: what of an order can come back.
-- $1 order id.
-- Out: a row for each article of an order that left the house and is paid: its sku, the pieces that did
-- not come back yet, and the price of a piece. An article has one price in an order.
SELECT l.sku, l.quantity - l.returned AS left_pieces,
       (SELECT min(i.unit_price_minor) FROM order_items i
        WHERE i.order_id = l.order_id AND i.sku = l.sku) AS unit_price_minor
FROM stock_reservations r
JOIN reservation_lines l ON l.order_id = r.order_id
JOIN payment_intents p ON p.order_id = r.order_id
WHERE r.order_id = $1::text AND r.status = 'SHIPPED' AND p.status = 'CAPTURED'
ORDER BY l.sku
