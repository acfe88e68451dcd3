-- close_order: closes an order to the five tasks, before anything is undone. An order that was
-- never written gets a row, so that it stays refused.
-- $1 order id, $2 id of the failed workflow, $3 reason, $4 customer's name and $5 e-mail or null.
-- Out: one row with the status before when this call closed it (null when there was no order);
-- none when the order is closed already or belongs to another workflow.
WITH before AS (
    SELECT order_id, status FROM orders WHERE order_id = $1::text FOR NO KEY UPDATE
), closed AS (
    INSERT INTO orders AS o (order_id, workflow_id, status, failure_reason, customer_name,
                             customer_email)
    SELECT $1::text, $2::uuid, 'UNWINDING', $3::text, $4::text, $5::text
    FROM (SELECT count(*) FROM before) AS locked_first
    ON CONFLICT (order_id) DO UPDATE
    SET status = 'UNWINDING', failure_reason = excluded.failure_reason,
        updated_at = statement_timestamp()
    WHERE o.workflow_id = excluded.workflow_id AND o.status NOT IN ('UNWINDING', 'FAILED', 'CANCELLED')
    RETURNING o.order_id
)
SELECT before.status AS status_before
FROM closed
LEFT JOIN before ON before.order_id = closed.order_id
