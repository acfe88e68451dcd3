-- Pieces that customers send back.

ALTER TABLE reservation_lines
    ADD COLUMN returned bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT reservation_lines_returned_within_quantity CHECK (
        returned BETWEEN 0 AND quantity);

-- One row per return, named by whoever asks for it, so that one that is asked for again is found.
CREATE TABLE order_returns (
    order_id text NOT NULL REFERENCES stock_reservations,
    return_id text NOT NULL CHECK (length(return_id) BETWEEN 1 AND 100),
    -- What came back: {"sku": pieces}.
    pieces jsonb NOT NULL,
    refund_minor bigint NOT NULL CHECK (refund_minor > 0),
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (order_id, return_id)
);
