-- The tables of the order tasks, in the first schema of the search path. docs/order-tables.md
-- tells who writes what and when. Amounts are in minor units (cents) of the order's currency.

-- Pieces on hand are those in the house; booked ones are promised to orders.
CREATE TABLE inventory (
    sku text PRIMARY KEY CHECK (length(sku) BETWEEN 1 AND 100),
    name text NOT NULL,
    on_hand bigint NOT NULL CHECK (on_hand >= 0),
    booked bigint NOT NULL DEFAULT 0,
    price_minor bigint NOT NULL CHECK (price_minor > 0),
    currency char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT inventory_booked_within_on_hand CHECK (booked BETWEEN 0 AND on_hand)
) WITH (fillfactor = 50);

-- An order that failed before it was acknowledged has a row too, so that it stays refused; what
-- its input did not say is null there.
CREATE TABLE orders (
    order_id text PRIMARY KEY CHECK (length(order_id) BETWEEN 1 AND 100),
    workflow_id uuid NOT NULL,
    status text NOT NULL CHECK (status IN (
        'ACKNOWLEDGED', 'PAID', 'BOOKED', 'SCHEDULED', 'COMPLETED', 'UNWINDING', 'FAILED')),
    customer_name text,
    customer_email text,
    ship_to jsonb,
    currency char(3) CHECK (currency ~ '^[A-Z]{3}$'),
    total_minor bigint CHECK (total_minor > 0),
    acknowledged_at timestamptz,
    completed_at timestamptz,
    failed_at timestamptz,
    failure_reason text,
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT orders_acknowledged_in_full CHECK (
        status IN ('UNWINDING', 'FAILED')
        OR (num_nulls(customer_name, customer_email, ship_to, currency, total_minor,
                      acknowledged_at) = 0)),
    CONSTRAINT orders_completed_at_set CHECK (status <> 'COMPLETED' OR completed_at IS NOT NULL),
    CONSTRAINT orders_failed_with_reason CHECK (
        (status = 'FAILED') = (failed_at IS NOT NULL)
        AND (status IN ('UNWINDING', 'FAILED')) = (failure_reason IS NOT NULL))
) WITH (fillfactor = 70);

-- No foreign key on sku: its check would lock the one popular shelf row in each order. The
-- acknowledgement reads the price from that row, and stock_bookings has the key.
CREATE TABLE order_items (
    order_id text NOT NULL REFERENCES orders,
    line_no int NOT NULL CHECK (line_no > 0),
    sku text NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0),
    unit_price_minor bigint NOT NULL CHECK (unit_price_minor > 0),
    PRIMARY KEY (order_id, line_no)
);

-- One payment per order. The row is written before the gateway is called, so that whoever undoes
-- the order knows the key of a charge whose answer was lost.
CREATE TABLE payments (
    order_id text PRIMARY KEY REFERENCES orders,
    idempotency_key text NOT NULL UNIQUE,
    status text NOT NULL DEFAULT 'PENDING' CHECK (status IN (
        'PENDING', 'CAPTURED', 'DECLINED', 'REFUNDED', 'VOIDED')),
    method text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    charge_id text,
    captured_at timestamptz,
    decline_code text,
    refund_key text UNIQUE,
    refund_id text,
    refunded_minor bigint NOT NULL DEFAULT 0,
    refunded_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT payments_refund_within_amount CHECK (refunded_minor BETWEEN 0 AND amount_minor),
    CONSTRAINT payments_captured_with_charge CHECK (
        status <> 'CAPTURED' OR num_nulls(charge_id, captured_at) = 0),
    CONSTRAINT payments_declined_with_code CHECK (status <> 'DECLINED' OR decline_code IS NOT NULL),
    CONSTRAINT payments_refunded_in_full CHECK (
        (status = 'REFUNDED') = (refunded_minor > 0)
        AND (status <> 'REFUNDED'
             OR (num_nulls(refund_key, refund_id, refunded_at) = 0
                 AND refunded_minor = amount_minor)))
) WITH (fillfactor = 70);

CREATE TABLE stock_bookings (
    order_id text NOT NULL REFERENCES orders,
    sku text NOT NULL REFERENCES inventory,
    quantity bigint NOT NULL CHECK (quantity > 0),
    status text NOT NULL DEFAULT 'BOOKED' CHECK (status IN ('BOOKED', 'RELEASED')),
    booked_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    released_at timestamptz,
    PRIMARY KEY (order_id, sku),
    CONSTRAINT stock_bookings_released_at_set CHECK (
        (status = 'RELEASED') = (released_at IS NOT NULL))
);

-- One delivery per order, its row written before the carrier is called, as with payments.
CREATE TABLE delivery_schedule (
    order_id text PRIMARY KEY REFERENCES orders,
    idempotency_key text NOT NULL UNIQUE,
    status text NOT NULL DEFAULT 'PENDING' CHECK (status IN (
        'PENDING', 'SCHEDULED', 'REFUSED', 'CANCELLED')),
    tracking_number text UNIQUE,
    delivery_date date,
    refusal_code text,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    scheduled_at timestamptz,
    cancelled_at timestamptz,
    CONSTRAINT delivery_scheduled_with_tracking CHECK (
        status <> 'SCHEDULED' OR num_nulls(tracking_number, delivery_date, scheduled_at) = 0),
    CONSTRAINT delivery_refused_with_code CHECK (status <> 'REFUSED' OR refusal_code IS NOT NULL),
    CONSTRAINT delivery_cancelled_at_set CHECK (
        (status = 'CANCELLED') = (cancelled_at IS NOT NULL))
) WITH (fillfactor = 70);

-- The outbox: a stage writes its row in the transaction of its own rows, the sender delivers it.
CREATE TABLE notifications (
    notification_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id text NOT NULL REFERENCES orders,
    stage text NOT NULL CHECK (stage IN (
        'ACKNOWLEDGED', 'PAID', 'BOOKED', 'SCHEDULED', 'COMPLETED', 'FAILED')),
    recipient text NOT NULL,
    body text NOT NULL,
    status text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'SENT', 'UNDELIVERABLE')),
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    last_error text,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    sent_at timestamptz,
    UNIQUE (order_id, stage),
    CONSTRAINT notifications_sent_at_set CHECK ((status = 'SENT') = (sent_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX notifications_pending_idx ON notifications (notification_id)
    WHERE status = 'PENDING';
