-- record_reversal: writes that nothing of a payment stands any more, once.
-- $1 order id.
-- Out: no row where it was written before or something stands, else the status after and what was
-- given back.
UPDATE payment_intents
SET status = CASE WHEN captured_minor > 0 THEN 'REFUNDED' ELSE 'VOIDED' END,
    reversed_at = statement_timestamp()
WHERE order_id = $1::text AND status = 'REVERSING' AND refunded_minor = captured_minor
RETURNING status, refunded_minor
