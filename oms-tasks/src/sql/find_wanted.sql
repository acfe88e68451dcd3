-- find_wanted: what orders want that may be given their pieces: acknowledged ones without a reservation, or
-- with one that waits or has expired.
-- $1 order ids.
-- Out: a row for each article of each of them: the order's id, the sku, and the pieces, summed over its lines.
-- The caller has locked the orders (find_orders), in a statement before.
SELECT i.order_id, i.sku, sum(i.quantity)::bigint AS quantity
FROM orders o
JOIN order_items i ON i.order_id = o.order_id
LEFT JOIN stock_reservations r ON r.order_id = o.order_id
WHERE o.order_id = ANY ($1::text[]) AND o.status = 'ACKNOWLEDGED'
  AND coalesce(r.status, 'EXPIRED') IN ('BACKORDERED', 'EXPIRED')
GROUP BY i.order_id, i.sku
ORDER BY i.order_id, i.sku
