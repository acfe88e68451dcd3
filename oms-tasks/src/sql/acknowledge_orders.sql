-- acknowledge_orders: prices orders from the inventory and writes each with its lines and the first
-- notification; nothing at all of an order with a line that cannot be priced, or that exists.
-- $1 order ids, $2 workflow ids, $3 customers' names, $4 e-mails, $5 ship-to (json), $6 currencies,
-- $7 bodies of the notifications; of the lines of all orders: $8 the order's number from 1, $9 the
-- line's number in it, $10 skus, $11 quantities; of the orders: $12 the first and $13 the last day of their
-- delivery windows, or null.
-- Out: one row for each order, in their order: unknown skus, skus priced in another currency, the
-- total (null when a sku is unknown or the total exceeds what JSON numbers hold), whether its delivery
-- window is over, whether this call wrote the order. Of several with one id the first is written.
-- Orders are written in the order of their ids, so that two calls cannot wait for each other.
WITH given AS MATERIALIZED (
    SELECT generate_subscripts($1::text[], 1) AS number, unnest($1::text[]) AS order_id,
        unnest($2::uuid[]) AS workflow_id, unnest($3::text[]) AS customer_name,
        unnest($4::text[]) AS customer_email, unnest($5::jsonb[]) AS ship_to,
        unnest($6::bpchar[]) AS currency, unnest($7::text[]) AS body,
        unnest($12::date[]) AS deliver_from, unnest($13::date[]) AS deliver_to
), lines AS MATERIALIZED (
    SELECT l.number, l.line_no, l.sku, l.quantity, i.price_minor, i.currency
    FROM (
        SELECT unnest($8::int[]) AS number, unnest($9::int[]) AS line_no,
            unnest($10::text[]) AS sku, unnest($11::int[]) AS quantity
    ) l
    LEFT JOIN inventory i ON i.sku = l.sku
), priced AS MATERIALIZED (
    SELECT g.number,
        array_agg(DISTINCT l.sku) FILTER (WHERE l.price_minor IS NULL) AS unknown,
        array_agg(DISTINCT l.sku) FILTER (WHERE l.currency <> g.currency) AS foreign_currency,
        sum(l.price_minor::numeric * l.quantity) AS total_minor,
        coalesce(g.deliver_to < (statement_timestamp() AT TIME ZONE 'UTC')::date, false) AS window_past
    FROM given g
    LEFT JOIN lines l ON l.number = g.number
    GROUP BY g.number, g.deliver_to
), sound AS MATERIALIZED (
    SELECT DISTINCT ON (g.order_id) g.*, p.total_minor
    FROM given g
    JOIN priced p ON p.number = g.number
    WHERE p.unknown IS NULL AND p.foreign_currency IS NULL
      AND p.total_minor <= 9007199254740991 AND NOT p.window_past
    ORDER BY g.order_id, g.number
), inserted AS (
    INSERT INTO orders (order_id, workflow_id, status, customer_name, customer_email, ship_to,
                        currency, total_minor, acknowledged_at, deliver_from, deliver_to)
    SELECT order_id, workflow_id, 'ACKNOWLEDGED', customer_name, customer_email, ship_to, currency,
           total_minor::bigint, statement_timestamp(), deliver_from, deliver_to
    FROM sound
    ORDER BY order_id
    ON CONFLICT (order_id) DO NOTHING
    RETURNING order_id
), written AS MATERIALIZED (
    SELECT s.number, s.order_id, s.customer_email, s.body
    FROM sound s
    JOIN inserted i ON i.order_id = s.order_id
), items AS (
    INSERT INTO order_items (order_id, line_no, sku, quantity, unit_price_minor)
    SELECT w.order_id, l.line_no, l.sku, l.quantity, l.price_minor
    FROM lines l
    JOIN written w ON w.number = l.number
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT order_id, 'ACKNOWLEDGED', customer_email, body
    FROM written
)
SELECT coalesce(p.unknown, '{}') AS unknown,
       coalesce(p.foreign_currency, '{}') AS foreign_currency,
       CASE WHEN p.unknown IS NULL AND p.total_minor <= 9007199254740991
            THEN p.total_minor::bigint END AS total_minor,
       p.window_past,
       w.number IS NOT NULL AS written
FROM priced p
LEFT JOIN written w ON w.number = p.number
ORDER BY p.number
