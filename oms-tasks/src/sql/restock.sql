-- restock: puts pieces on a shelf, and sets the article's name and price; a shelf and an article that are
-- not there are made.
-- $1 sku, $2 name, $3 pieces to add, $4 price in minor units, $5 currency, $6 warehouse.
-- Out: one row: pieces on hand and booked on this shelf.
-- The article comes after the shelf, as with restock_and_serve, which has locked shelves before.
WITH shelf AS (
    INSERT INTO warehouse_stock AS s (sku, warehouse, on_hand)
    VALUES ($1::text, $6::text, $3::bigint)
    ON CONFLICT (sku, warehouse) DO UPDATE
    SET on_hand = s.on_hand + excluded.on_hand, updated_at = statement_timestamp()
    RETURNING sku, on_hand, booked
), article AS (
    INSERT INTO inventory (sku, name, price_minor, currency)
    SELECT sku, $2::text, $4::bigint, $5::bpchar
    FROM shelf
    ON CONFLICT (sku) DO UPDATE
    SET name = excluded.name, price_minor = excluded.price_minor, currency = excluded.currency,
        updated_at = statement_timestamp()
)
SELECT on_hand, booked
FROM shelf
