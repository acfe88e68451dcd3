-- acknowledge_order: prices an order from the inventory and writes it with its lines and the
-- first notification; nothing at all when a line cannot be priced or the order exists.
-- $1 order id, $2 workflow id, $3 customer's name, $4 e-mail, $5 ship-to (json), $6 currency,
-- $7 skus and $8 quantities of the lines in order, $9 body of the notification.
-- Out: one row: unknown skus, skus priced in another currency, the total (null when a sku is
-- unknown or the total exceeds what JSON numbers hold), whether this call wrote the order.
WITH lines AS (
    SELECT l.line_no, l.sku, l.quantity, i.price_minor, i.currency
    FROM unnest($7::text[], $8::int[]) WITH ORDINALITY AS l (sku, quantity, line_no)
    LEFT JOIN inventory i ON i.sku = l.sku
), priced AS (
    SELECT array_agg(DISTINCT sku) FILTER (WHERE price_minor IS NULL) AS unknown,
           array_agg(DISTINCT sku) FILTER (WHERE currency <> $6::bpchar) AS foreign_currency,
           sum(price_minor::numeric * quantity) AS total_minor
    FROM lines
), written AS (
    INSERT INTO orders (order_id, workflow_id, status, customer_name, customer_email, ship_to,
                        currency, total_minor, acknowledged_at)
    SELECT $1::text, $2::uuid, 'ACKNOWLEDGED', $3::text, $4::text, $5::jsonb, $6::bpchar,
           total_minor::bigint, statement_timestamp()
    FROM priced
    WHERE unknown IS NULL AND foreign_currency IS NULL AND total_minor <= 9007199254740991
    ON CONFLICT (order_id) DO NOTHING
    RETURNING total_minor
), items AS (
    INSERT INTO order_items (order_id, line_no, sku, quantity, unit_price_minor)
    SELECT $1::text, line_no, sku, quantity, price_minor
    FROM lines, written
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT $1::text, 'ACKNOWLEDGED', $4::text, $9::text
    FROM written
)
SELECT coalesce(unknown, '{}') AS unknown,
       coalesce(foreign_currency, '{}') AS foreign_currency,
       CASE WHEN unknown IS NULL AND total_minor <= 9007199254740991
            THEN total_minor::bigint END AS total_minor,
       EXISTS (SELECT FROM written) AS written
FROM priced
