-- find_skus: the articles that orders have reserved.
-- $1 order ids.
-- Out: a row for each article.
SELECT DISTINCT sku
FROM reservation_lines
WHERE order_id = ANY ($1::text[])
ORDER BY sku
