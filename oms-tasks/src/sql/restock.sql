-- restock: puts pieces on a shelf, and sets its name and price; a new sku gets a shelf.
-- $1 sku, $2 name, $3 pieces to add, $4 price in minor units, $5 currency.
-- Out: one row: pieces on hand and booked.
INSERT INTO inventory AS i (sku, name, on_hand, price_minor, currency)
VALUES ($1::text, $2::text, $3::bigint, $4::bigint, $5::bpchar)
ON CONFLICT (sku) DO UPDATE
SET name = excluded.name, on_hand = i.on_hand + excluded.on_hand,
    price_minor = excluded.price_minor, currency = excluded.currency,
    updated_at = statement_timestamp()
RETURNING on_hand, booked
