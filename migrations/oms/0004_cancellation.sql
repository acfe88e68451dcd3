-- Orders that their customers cancel.

ALTER TABLE orders
    -- When the customer cancelled; such an order ends CANCELLED, not FAILED.
    ADD COLUMN cancelled_at timestamptz,
    DROP CONSTRAINT orders_status_check,
    ADD CONSTRAINT orders_status_check CHECK (status IN (
        'ACKNOWLEDGED', 'PAID', 'BOOKED', 'SCHEDULED', 'COMPLETED', 'UNWINDING', 'FAILED',
        'CANCELLED')),
    DROP CONSTRAINT orders_failed_with_reason,
    ADD CONSTRAINT orders_ended_with_reason CHECK (
        (status IN ('FAILED', 'CANCELLED')) = (failed_at IS NOT NULL)
        AND (status IN ('UNWINDING', 'FAILED', 'CANCELLED')) = (failure_reason IS NOT NULL)),
    ADD CONSTRAINT orders_cancelled_at_set CHECK (
        status <> 'CANCELLED' OR cancelled_at IS NOT NULL);

ALTER TABLE notifications
    DROP CONSTRAINT notifications_stage_check,
    ADD CONSTRAINT notifications_stage_check CHECK (stage IN (
        'ACKNOWLEDGED', 'PAID', 'DECLINED', 'BOOKED', 'BACKORDERED', 'SCHEDULED', 'COMPLETED',
        'FAILED', 'CANCELLED'));
