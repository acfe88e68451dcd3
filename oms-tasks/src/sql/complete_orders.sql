-- complete_orders: completes scheduled orders and writes the stage's notifications.
-- $1 order ids, $2 bodies of the notifications, $3 their stage.
-- Out: a row for each order that is there: its id and its status before. Nothing is written for an
-- order in another state.
-- Orders are locked in the order of their ids, so that two calls cannot wait for each other.
WITH given AS MATERIALIZED (
    SELECT DISTINCT ON (v.order_id) v.order_id, v.body
    FROM (SELECT unnest($1::text[]) AS order_id, unnest($2::text[]) AS body) v
    ORDER BY v.order_id
), ordered AS MATERIALIZED (
    SELECT order_id, status, customer_email
    FROM orders
    WHERE order_id = ANY ($1::text[])
    ORDER BY order_id
    FOR NO KEY UPDATE
), completed AS (
    UPDATE orders o
    SET status = 'COMPLETED', completed_at = statement_timestamp(),
        updated_at = statement_timestamp()
    WHERE o.order_id = ANY (ARRAY(SELECT order_id FROM ordered WHERE status = 'SCHEDULED'))
), noted AS (
    INSERT INTO notifications (order_id, stage, recipient, body)
    SELECT o.order_id, $3::text, o.customer_email, v.body
    FROM ordered o
    JOIN given v ON v.order_id = o.order_id
    WHERE o.status = 'SCHEDULED'
)
SELECT order_id, status AS order_status
FROM ordered
