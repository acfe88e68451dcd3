-- intend_payment: writes the payment's row before the gateway is called, or finds it.
-- $1 order id, $2 idempotency key of the charge, $3 method.
-- Out: no row for an unknown order, else the order's status and the payment; a row that was there
-- keeps its key. The payment is null when the order is in no state to be paid.
-- The update of a row that is there changes nothing: it returns the row as last committed, which
-- a select in the same statement would not.
WITH ordered AS (
    SELECT order_id, status, total_minor, currency
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), intended AS (
    INSERT INTO payments (order_id, idempotency_key, method, amount_minor, currency)
    SELECT order_id, $2::text, $3::text, total_minor, currency
    FROM ordered
    WHERE status NOT IN ('UNWINDING', 'FAILED', 'CANCELLED')
    ON CONFLICT (order_id) DO UPDATE SET idempotency_key = payments.idempotency_key
    RETURNING idempotency_key, status, amount_minor, currency, charge_id, decline_code
)
SELECT o.status AS order_status, p.idempotency_key, p.status, p.amount_minor,
       p.currency::text AS currency, p.charge_id, p.decline_code
FROM ordered o
LEFT JOIN intended p ON true
