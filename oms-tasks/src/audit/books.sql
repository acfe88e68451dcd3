-- books: what is wrong with the order tables; no row when all is right.
-- $1 what the gateway and the carrier say, a json array of totals with their order_id, or null where nobody
-- is asked; $2 a json object of the pieces that ever came in, by sku, or null where nobody counted them.
-- Out: the rule that is broken, and of what in which way.
-- What is said of an order that has ended must hold at once; of one that is under way only what must hold
-- always. {schema} is that of the engine's tables.
WITH witness AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_recordset($1::jsonb) AS w(
        order_id text, charges bigint, charged_minor bigint, refunds bigint, refunded_minor bigint,
        authorisations bigint, authorised_minor bigint, voids bigint, captures bigint,
        captured_minor bigint, part_refunded_minor bigint, bookings bigint, cancellations bigint)
), books AS MATERIALIZED (
    SELECT o.order_id, o.status, o.workflow_id, o.total_minor, o.customer_email,
           o.status IN ('COMPLETED', 'FAILED', 'CANCELLED') AS ended,
           coalesce(p.status, i.status) AS payment,
           CASE WHEN p.status IN ('CAPTURED', 'REFUNDED') THEN p.amount_minor ELSE 0 END
               + coalesce(i.captured_minor, 0) AS taken,
           coalesce(p.refunded_minor, 0) + coalesce(i.refunded_minor, 0) AS given_back,
           (SELECT coalesce(sum(r.refund_minor), 0) FROM order_returns r
            WHERE r.order_id = o.order_id) AS to_give_back,
           coalesce(d.standing, 0) AS standing, coalesce(d.scheduled, 0) AS scheduled
    FROM orders o
    LEFT JOIN payments p ON p.order_id = o.order_id
    LEFT JOIN payment_intents i ON i.order_id = o.order_id
    LEFT JOIN (
        SELECT s.order_id, count(*) FILTER (WHERE s.status IN ('PENDING', 'SCHEDULED')) AS standing,
               count(*) FILTER (WHERE s.status = 'SCHEDULED') AS scheduled
        FROM delivery_schedule s
        GROUP BY s.order_id
    ) d ON d.order_id = o.order_id
), pieces AS MATERIALIZED (
    SELECT b.order_id, b.sku, 'main' AS warehouse, b.quantity AS booked, 0 AS shipped
    FROM stock_bookings b
    WHERE b.status = 'BOOKED'
    UNION ALL
    SELECT p.order_id, p.sku, p.warehouse,
           CASE WHEN r.status = 'SHIPPED' THEN 0 ELSE p.quantity END,
           CASE WHEN r.status = 'SHIPPED' THEN p.quantity - p.returned ELSE 0 END
    FROM reservation_pieces p
    JOIN stock_reservations r ON r.order_id = p.order_id
), shelves AS MATERIALIZED (
    SELECT s.sku, s.warehouse, s.on_hand, s.booked, s.shipped,
           coalesce(p.booked, 0) AS booked_of_orders, coalesce(p.shipped, 0) AS shipped_of_orders
    FROM warehouse_stock s
    LEFT JOIN (
        SELECT sku, warehouse, sum(booked) AS booked, sum(shipped) AS shipped
        FROM pieces
        GROUP BY sku, warehouse
    ) p ON p.sku = s.sku AND p.warehouse = s.warehouse
), told AS MATERIALIZED (
    SELECT n.order_id, array_agg(n.stage::text) AS stages,
           count(*) FILTER (WHERE n.status = 'PENDING') AS pending
    FROM notifications n
    GROUP BY n.order_id
)
SELECT 'charged twice' AS rule,
       format('order %s: %s charges, %s captures', w.order_id, w.charges, w.captures) AS detail
FROM witness w
WHERE w.charges + w.captures > 1
UNION ALL
SELECT 'captured more than was authorised',
       format('order %s: %s of %s', w.order_id, w.captured_minor, w.authorised_minor)
FROM witness w
WHERE w.captured_minor > w.authorised_minor
UNION ALL
SELECT 'given back more than was taken', format('order %s: %s', w.order_id, to_jsonb(w))
FROM witness w
WHERE w.refunded_minor > w.charged_minor OR w.part_refunded_minor > w.captured_minor
UNION ALL
SELECT 'paid for an order that is not there', format('order %s: %s', w.order_id, to_jsonb(w))
FROM witness w
WHERE NOT EXISTS (SELECT FROM books b WHERE b.order_id = w.order_id)
  AND (w.charged_minor + w.captured_minor > w.refunded_minor + w.part_refunded_minor
       OR w.authorisations > w.captures + w.voids OR w.bookings > w.cancellations)
UNION ALL
SELECT 'tables and gateway differ',
       format('order %s: %s taken, %s given back; the gateway says %s', b.order_id, b.taken,
              b.given_back, to_jsonb(w))
FROM books b
JOIN witness w ON w.order_id = b.order_id
WHERE b.ended
  AND (w.charged_minor + w.captured_minor, w.refunded_minor + w.part_refunded_minor)
      <> (b.taken, b.given_back)
UNION ALL
SELECT 'money is kept for an order that ended without',
       format('order %s is %s: %s taken, %s given back, payment %s', b.order_id, b.status, b.taken,
              b.given_back, b.payment)
FROM books b
WHERE b.status IN ('FAILED', 'CANCELLED')
  AND (b.taken <> b.given_back
       OR b.payment IN ('PENDING', 'CAPTURED', 'INTENDED', 'AUTHORISED', 'REVERSING'))
UNION ALL
SELECT 'money is set aside for an order that ended',
       format('order %s is %s: %s', b.order_id, b.status, to_jsonb(w))
FROM books b
JOIN witness w ON w.order_id = b.order_id
WHERE b.ended AND w.authorisations > w.captures + w.voids
UNION ALL
SELECT 'a completed order is not paid as it should be',
       format('order %s: %s taken, %s given back, total %s, returns %s', b.order_id, b.taken,
              b.given_back, b.total_minor, b.to_give_back)
FROM books b
WHERE b.status = 'COMPLETED' AND (b.taken <> b.total_minor OR b.given_back > b.to_give_back)
UNION ALL
SELECT 'a delivery stands for an order that ended without',
       format('order %s is %s: %s deliveries', b.order_id, b.status, b.standing)
FROM books b
WHERE b.status IN ('FAILED', 'CANCELLED') AND b.standing > 0
UNION ALL
SELECT 'a delivery is outside of the time that was asked for',
       format('order %s: on %s, not from %s to %s', o.order_id, d.delivery_date, o.deliver_from,
              o.deliver_to)
FROM delivery_schedule d
JOIN orders o ON o.order_id = d.order_id
WHERE d.status = 'SCHEDULED' AND d.delivery_date NOT BETWEEN o.deliver_from AND o.deliver_to
UNION ALL
SELECT 'tables and carrier differ', format('order %s is %s: %s', b.order_id, b.status, to_jsonb(w))
FROM books b
JOIN witness w ON w.order_id = b.order_id
WHERE b.ended AND w.bookings - w.cancellations <> b.scheduled
UNION ALL
SELECT 'a delivery without pieces, or pieces without a delivery',
       format('order %s: from %s', b.order_id, coalesce(p.warehouse, d.warehouse))
FROM (SELECT DISTINCT order_id, warehouse FROM pieces) p
FULL JOIN (SELECT order_id, warehouse FROM delivery_schedule WHERE status = 'SCHEDULED') d
    ON d.order_id = p.order_id AND d.warehouse = p.warehouse
JOIN books b ON b.order_id = coalesce(p.order_id, d.order_id)
WHERE b.status = 'COMPLETED' AND (p.warehouse IS NULL OR d.warehouse IS NULL)
UNION ALL
SELECT 'stock is negative or promised twice',
       format('%s in %s: %s on hand, %s booked, %s shipped', s.sku, s.warehouse, s.on_hand, s.booked,
              s.shipped)
FROM shelves s
WHERE s.on_hand < 0 OR s.booked < 0 OR s.shipped < 0 OR s.booked > s.on_hand
UNION ALL
SELECT 'booked pieces are nobody''s, or an order''s pieces are not booked',
       format('%s in %s: %s booked, %s of orders', s.sku, s.warehouse, s.booked, s.booked_of_orders)
FROM shelves s
WHERE s.booked <> s.booked_of_orders
UNION ALL
SELECT 'shipped pieces are nobody''s, or an order''s pieces are not shipped',
       format('%s in %s: %s shipped, %s of orders', s.sku, s.warehouse, s.shipped, s.shipped_of_orders)
FROM shelves s
WHERE s.shipped <> s.shipped_of_orders
UNION ALL
SELECT 'the pieces of a reservation are not those that it is for',
       format('order %s is %s: %s of %s %s', l.order_id, r.status, coalesce(p.quantity, 0), l.quantity,
              l.sku)
FROM stock_reservations r
JOIN reservation_lines l ON l.order_id = r.order_id
LEFT JOIN (
    SELECT order_id, sku, sum(quantity) AS quantity
    FROM reservation_pieces
    GROUP BY order_id, sku
) p ON p.order_id = l.order_id AND p.sku = l.sku
WHERE coalesce(p.quantity, 0)
    <> CASE WHEN r.status IN ('RESERVED', 'CONFIRMED', 'SHIPPED') THEN l.quantity ELSE 0 END
UNION ALL
SELECT 'pieces are lost or found',
       format('%s: %s on hand, %s shipped, %s came in', c.sku, s.on_hand, s.shipped, c.pieces)
FROM (SELECT key AS sku, value::bigint AS pieces FROM jsonb_each_text($2::jsonb)) c
LEFT JOIN (
    SELECT sku, sum(on_hand) AS on_hand, sum(shipped) AS shipped
    FROM warehouse_stock
    GROUP BY sku
) s ON s.sku = c.sku
WHERE s.on_hand + s.shipped IS DISTINCT FROM c.pieces
UNION ALL
SELECT 'pieces are held for an order that ended without',
       format('order %s is %s', b.order_id, b.status)
FROM books b
WHERE b.status IN ('FAILED', 'CANCELLED')
  AND (EXISTS (SELECT FROM stock_bookings s WHERE s.order_id = b.order_id AND s.status = 'BOOKED')
       OR EXISTS (SELECT FROM stock_reservations r WHERE r.order_id = b.order_id
                  AND r.status IN ('BACKORDERED', 'RESERVED', 'CONFIRMED', 'SHIPPED')))
UNION ALL
SELECT 'a completed order has not got its pieces',
       format('order %s: %s of %s %s', i.order_id, coalesce(g.quantity, 0), i.quantity, i.sku)
FROM (
    SELECT b.order_id, l.sku, sum(l.quantity) AS quantity
    FROM books b
    JOIN order_items l ON l.order_id = b.order_id
    WHERE b.status = 'COMPLETED'
    GROUP BY b.order_id, l.sku
) i
LEFT JOIN LATERAL (
    SELECT sum(h.quantity) AS quantity
    FROM (
        SELECT s.quantity FROM stock_bookings s
        WHERE s.order_id = i.order_id AND s.sku = i.sku AND s.status = 'BOOKED'
        UNION ALL
        SELECT l.quantity
        FROM reservation_lines l
        JOIN stock_reservations r ON r.order_id = l.order_id AND r.status = 'SHIPPED'
        WHERE l.order_id = i.order_id AND l.sku = i.sku
    ) h
) g ON true
WHERE g.quantity IS DISTINCT FROM i.quantity
UNION ALL
SELECT 'the customer was not told, or is still to be',
       format('order %s is %s: %s, %s pending', b.order_id, b.status, t.stages, t.pending)
FROM books b
LEFT JOIN told t ON t.order_id = b.order_id
WHERE b.ended AND b.customer_email IS NOT NULL
  AND (t.pending IS DISTINCT FROM 0
       OR NOT t.stages @> CASE b.status
              WHEN 'COMPLETED'
              THEN ARRAY['ACKNOWLEDGED', 'PAID', 'BOOKED', 'SCHEDULED']
              ELSE ARRAY[b.status]
          END
       OR (b.status = 'COMPLETED') <> (t.stages && ARRAY['COMPLETED', 'DISPATCHED']))
UNION ALL
SELECT 'the customer was not told of each refund once',
       format('order %s: refund %s', r.order_id, r.idempotency_key)
FROM payment_refunds r
JOIN books b ON b.order_id = r.order_id AND b.customer_email IS NOT NULL
WHERE r.status = 'REFUNDED'
  AND NOT EXISTS (SELECT FROM notifications n
                  WHERE n.order_id = r.order_id AND n.stage = 'REFUNDED'
                    -- Empty: told before each had its own.
                    AND n.part IN (r.idempotency_key, ''))
UNION ALL
SELECT 'nobody works on an order', format('order %s is %s', b.order_id, b.status)
FROM books b
WHERE NOT b.ended
  AND NOT EXISTS (
      SELECT FROM {schema}.workflows w
      WHERE w.status IN (0, 1)
        AND (w.id = b.workflow_id OR w.correlation_id = b.order_id
             OR w.id = (SELECT r.failure_workflow_id FROM {schema}.workflows r
                        WHERE r.id = b.workflow_id)))
UNION ALL
SELECT 'a run stands still', format('run %s: %s', s.workflow_id, s.reason)
FROM {schema}.stuck_workflows s
ORDER BY rule, detail
