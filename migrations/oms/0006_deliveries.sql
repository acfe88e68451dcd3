-- How deliveries go on, as their carrier says: in any order, and more than once.

ALTER TABLE delivery_schedule
    -- The furthest that was heard of; it never goes back.
    ADD COLUMN progress text CHECK (progress IN (
        'BOOKED', 'DISPATCHED', 'OUT_FOR_DELIVERY', 'DELIVERED', 'FAILED')),
    ADD COLUMN progress_at timestamptz,
    ADD CONSTRAINT delivery_progress_at_set CHECK (
        (progress IS NULL) = (progress_at IS NULL));

-- Each status once, also one that came late.
CREATE TABLE delivery_updates (
    order_id text NOT NULL REFERENCES delivery_schedule,
    status text NOT NULL CHECK (status IN (
        'BOOKED', 'DISPATCHED', 'OUT_FOR_DELIVERY', 'DELIVERED', 'FAILED')),
    -- By the carrier's clock.
    happened_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (order_id, status)
);

ALTER TABLE notifications
    DROP CONSTRAINT notifications_stage_check,
    ADD CONSTRAINT notifications_stage_check CHECK (stage IN (
        'ACKNOWLEDGED', 'PAID', 'DECLINED', 'BOOKED', 'BACKORDERED', 'SCHEDULED', 'COMPLETED',
        'DISPATCHED', 'DELIVERED', 'REFUNDED', 'FAILED', 'CANCELLED'));
