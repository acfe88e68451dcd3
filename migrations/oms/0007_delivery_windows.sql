-- The days between which a customer wants to be delivered to, both included.

ALTER TABLE orders
    ADD COLUMN deliver_from date,
    ADD COLUMN deliver_to date,
    ADD CONSTRAINT orders_delivery_window_whole CHECK (
        num_nulls(deliver_from, deliver_to) <> 1 AND deliver_from <= deliver_to);
