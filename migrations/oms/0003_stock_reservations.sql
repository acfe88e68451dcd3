-- Pieces that are set aside for an order of several lines, for a time or for good, or that it waits for.

-- Pieces that left the house. On hand and shipped together are all that ever came in.
ALTER TABLE inventory ADD COLUMN shipped bigint NOT NULL DEFAULT 0 CHECK (shipped >= 0);

-- One row per order: its lines are reserved together or not at all. An order that must get no pieces
-- any more has a row too (RELEASED).
CREATE TABLE stock_reservations (
    order_id text PRIMARY KEY REFERENCES orders,
    status text NOT NULL CHECK (status IN (
        'BACKORDERED', 'RESERVED', 'CONFIRMED', 'EXPIRED', 'RELEASED', 'SHIPPED')),
    -- The order in which back-orders are served.
    queue_number bigint GENERATED ALWAYS AS IDENTITY,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    reserved_at timestamptz,
    -- How long a reservation that is not confirmed holds; null: for good.
    hold_seconds int CHECK (hold_seconds > 0),
    -- From then on a reservation that is not confirmed may go back to the shelf; null: never.
    expires_at timestamptz,
    ended_at timestamptz,
    CONSTRAINT stock_reservations_reserved_at_set CHECK (
        status NOT IN ('RESERVED', 'CONFIRMED', 'SHIPPED') OR reserved_at IS NOT NULL),
    CONSTRAINT stock_reservations_ended_at_set CHECK (
        (status IN ('EXPIRED', 'RELEASED', 'SHIPPED')) = (ended_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX stock_reservations_waiting_idx ON stock_reservations (queue_number)
    WHERE status = 'BACKORDERED';

-- What the order wants of each article, summed over its lines.
CREATE TABLE reservation_lines (
    order_id text NOT NULL REFERENCES stock_reservations,
    sku text NOT NULL REFERENCES inventory,
    quantity bigint NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, sku)
);
CREATE INDEX reservation_lines_sku_idx ON reservation_lines (sku, order_id);

ALTER TABLE notifications
    DROP CONSTRAINT notifications_stage_check,
    ADD CONSTRAINT notifications_stage_check CHECK (stage IN (
        'ACKNOWLEDGED', 'PAID', 'DECLINED', 'BOOKED', 'BACKORDERED', 'SCHEDULED', 'COMPLETED',
        'FAILED'));
