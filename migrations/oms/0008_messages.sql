-- A message for each refund, and for a delivery that failed.

ALTER TABLE notifications
    -- What of the order it is about, where a stage comes more than once.
    ADD COLUMN part text NOT NULL DEFAULT '',
    DROP CONSTRAINT notifications_order_id_stage_key,
    ADD CONSTRAINT notifications_order_id_stage_part_key UNIQUE (order_id, stage, part),
    DROP CONSTRAINT notifications_stage_check,
    ADD CONSTRAINT notifications_stage_check CHECK (stage IN (
        'ACKNOWLEDGED', 'PAID', 'DECLINED', 'BOOKED', 'BACKORDERED', 'SCHEDULED', 'COMPLETED',
        'DISPATCHED', 'DELIVERED', 'DELIVERY_FAILED', 'REFUNDED', 'FAILED', 'CANCELLED'));
