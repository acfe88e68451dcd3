-- lock_shelves: locks these shelves and those of the articles of these orders, in the order of their
-- skus.
-- $1 skus, $2 order ids.
-- Out: a row for each shelf.
SELECT sku
FROM inventory
WHERE sku = ANY (ARRAY(
    SELECT unnest($1::text[])
    UNION
    SELECT i.sku FROM order_items i WHERE i.order_id = ANY ($2::text[])))
ORDER BY sku
FOR NO KEY UPDATE
