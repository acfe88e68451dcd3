-- intend_authorisation: writes what is to be authorised before the gateway is called, or finds it.
-- $1 order id, $2 idempotency key of the authorisation, $3 method.
-- Out: no row for an unknown order, else the order's status and the intent, which is null when the
-- order is in no state to be paid; a row that was there keeps its key and is not fresh. On the update
-- that changes nothing see intend_payment.
WITH ordered AS (
    SELECT order_id, status, total_minor, currency
    FROM orders
    WHERE order_id = $1::text
    FOR NO KEY UPDATE
), intended AS (
    INSERT INTO payment_intents (order_id, idempotency_key, method, amount_minor, currency)
    SELECT order_id, $2::text, $3::text, total_minor, currency
    FROM ordered
    WHERE status NOT IN ('UNWINDING', 'FAILED', 'CANCELLED')
    ON CONFLICT (order_id) DO UPDATE SET idempotency_key = payment_intents.idempotency_key
    RETURNING *, xmax = 0 AS fresh
)
SELECT o.status AS order_status, p.fresh, p.idempotency_key, p.status, p.amount_minor,
       p.currency::text AS currency, p.payment_id, p.decline_code, p.captured_minor,
       p.reversal_key
FROM ordered o
LEFT JOIN intended p ON true
