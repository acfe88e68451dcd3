-- confirm_orders: books orders that are paid and reserved.
-- $1 order ids.
-- Out: a row for each order that is there: its id, its status before, and whether its payment is
-- authorised or captured. Nothing is written for an order in another state. The caller has locked the
-- orders, and confirmed their reservations.
WITH ordered AS MATERIALIZED (
    SELECT o.order_id, o.status, coalesce(p.status IN ('AUTHORISED', 'CAPTURED'), false) AS paid
    FROM orders o
    LEFT JOIN payment_intents p ON p.order_id = o.order_id
    WHERE o.order_id = ANY ($1::text[])
), booked AS (
    UPDATE orders o
    SET status = 'BOOKED', updated_at = statement_timestamp()
    WHERE o.order_id = ANY (ARRAY(
        SELECT order_id FROM ordered WHERE status = 'ACKNOWLEDGED' AND paid))
)
SELECT order_id, status AS order_status, paid
FROM ordered
