-- Payments that are authorised first and captured later, and given back in parts. An order has a row
-- in payments or one here, never both.

-- What is meant to be done is written before the gateway is called: the row with the key of the
-- authorisation, capture_key, REVERSING, and the rows of payment_refunds.
CREATE TABLE payment_intents (
    order_id text PRIMARY KEY REFERENCES orders,
    idempotency_key text NOT NULL UNIQUE,
    status text NOT NULL DEFAULT 'INTENDED' CHECK (status IN (
        'INTENDED', 'AUTHORISED', 'CAPTURED', 'DECLINED', 'REVERSING', 'VOIDED', 'REFUNDED')),
    method text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    payment_id text,
    decline_code text,
    capture_key text UNIQUE,
    captured_minor bigint NOT NULL DEFAULT 0,
    -- The sum of the refunds that are meant or made, and of those that are made.
    promised_minor bigint NOT NULL DEFAULT 0,
    refunded_minor bigint NOT NULL DEFAULT 0,
    reversal_key text UNIQUE,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    authorised_at timestamptz,
    captured_at timestamptz,
    reversed_at timestamptz,
    CONSTRAINT payment_intents_captured_within_amount CHECK (
        captured_minor BETWEEN 0 AND amount_minor),
    CONSTRAINT payment_intents_refunded_within_captured CHECK (
        refunded_minor BETWEEN 0 AND promised_minor AND promised_minor <= captured_minor),
    CONSTRAINT payment_intents_authorised_with_id CHECK (
        status NOT IN ('AUTHORISED', 'CAPTURED')
        OR num_nulls(payment_id, authorised_at) = 0),
    CONSTRAINT payment_intents_captured_with_amount CHECK (
        status NOT IN ('CAPTURED', 'REFUNDED') OR captured_minor > 0),
    CONSTRAINT payment_intents_declined_with_code CHECK (
        (status = 'DECLINED') = (decline_code IS NOT NULL)),
    CONSTRAINT payment_intents_reversed_in_full CHECK (
        status NOT IN ('VOIDED', 'REFUNDED') OR refunded_minor = captured_minor),
    CONSTRAINT payment_intents_reversing_with_key CHECK (
        status NOT IN ('REVERSING', 'VOIDED') OR reversal_key IS NOT NULL)
) WITH (fillfactor = 70);

CREATE TABLE payment_refunds (
    idempotency_key text PRIMARY KEY,
    order_id text NOT NULL REFERENCES payment_intents,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    status text NOT NULL DEFAULT 'INTENDED' CHECK (status IN ('INTENDED', 'REFUNDED', 'REFUSED')),
    refund_id text,
    refusal_code text,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    ended_at timestamptz,
    CONSTRAINT payment_refunds_refunded_with_id CHECK (
        (status = 'REFUNDED') = (refund_id IS NOT NULL)),
    CONSTRAINT payment_refunds_refused_with_code CHECK (
        (status = 'REFUSED') = (refusal_code IS NOT NULL)),
    CONSTRAINT payment_refunds_ended_at_set CHECK ((status = 'INTENDED') = (ended_at IS NULL))
);
CREATE INDEX payment_refunds_order_idx ON payment_refunds (order_id);

ALTER TABLE notifications
    DROP CONSTRAINT notifications_stage_check,
    ADD CONSTRAINT notifications_stage_check CHECK (stage IN (
        'ACKNOWLEDGED', 'PAID', 'DECLINED', 'BOOKED', 'SCHEDULED', 'COMPLETED', 'FAILED'));
