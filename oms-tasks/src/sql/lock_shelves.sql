-- lock_shelves: locks the shelves of these articles and of those of these orders, in all warehouses, in the
-- order of their skus and warehouses.
-- $1 skus, $2 order ids.
-- Out: a row for each shelf: its sku, its warehouse, and the pieces that are free on it, as last committed.
SELECT sku, warehouse, on_hand - booked AS free
FROM warehouse_stock
WHERE sku = ANY (ARRAY(
    SELECT unnest($1::text[])
    UNION
    SELECT i.sku FROM order_items i WHERE i.order_id = ANY ($2::text[])))
ORDER BY sku, warehouse
FOR NO KEY UPDATE
