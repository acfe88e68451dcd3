-- Stock, the pieces of reservations and deliveries, each by warehouse. 'main' is that of whoever names none,
-- and of version 1.

-- The shelves. On hand and shipped together are all that ever came to one; booked pieces are promised to
-- orders.
CREATE TABLE warehouse_stock (
    sku text NOT NULL REFERENCES inventory,
    warehouse text NOT NULL DEFAULT 'main' CHECK (length(warehouse) BETWEEN 1 AND 100),
    on_hand bigint NOT NULL CHECK (on_hand >= 0),
    booked bigint NOT NULL DEFAULT 0,
    shipped bigint NOT NULL DEFAULT 0 CHECK (shipped >= 0),
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (sku, warehouse),
    CONSTRAINT warehouse_stock_booked_within_on_hand CHECK (booked BETWEEN 0 AND on_hand)
) WITH (fillfactor = 50);
INSERT INTO warehouse_stock (sku, on_hand, booked, shipped)
SELECT sku, on_hand, booked, shipped FROM inventory;
ALTER TABLE inventory DROP COLUMN on_hand, DROP COLUMN booked, DROP COLUMN shipped;

-- From where the pieces of a reservation come, while it has some and once they are shipped: then those of
-- a line add up to its quantity.
CREATE TABLE reservation_pieces (
    order_id text NOT NULL,
    sku text NOT NULL,
    warehouse text NOT NULL,
    quantity bigint NOT NULL CHECK (quantity > 0),
    returned bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (order_id, sku, warehouse),
    FOREIGN KEY (order_id, sku) REFERENCES reservation_lines,
    FOREIGN KEY (sku, warehouse) REFERENCES warehouse_stock,
    CONSTRAINT reservation_pieces_returned_within_quantity CHECK (returned BETWEEN 0 AND quantity)
);
INSERT INTO reservation_pieces (order_id, sku, warehouse, quantity, returned)
SELECT l.order_id, l.sku, 'main', l.quantity, l.returned
FROM reservation_lines l
JOIN stock_reservations r ON r.order_id = l.order_id
WHERE r.status IN ('RESERVED', 'CONFIRMED', 'SHIPPED');
ALTER TABLE reservation_lines DROP COLUMN returned;

-- One delivery for each warehouse that has pieces of the order.
ALTER TABLE delivery_updates
    DROP CONSTRAINT delivery_updates_order_id_fkey,
    DROP CONSTRAINT delivery_updates_pkey,
    ADD COLUMN warehouse text NOT NULL DEFAULT 'main';
ALTER TABLE delivery_schedule
    ADD COLUMN warehouse text NOT NULL DEFAULT 'main',
    DROP CONSTRAINT delivery_schedule_pkey,
    ADD PRIMARY KEY (order_id, warehouse);
ALTER TABLE delivery_updates
    ALTER COLUMN warehouse DROP DEFAULT,
    ADD PRIMARY KEY (order_id, warehouse, status),
    ADD FOREIGN KEY (order_id, warehouse) REFERENCES delivery_schedule;
