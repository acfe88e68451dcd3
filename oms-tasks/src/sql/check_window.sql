-- check_window: whether a delivery window is over for an order that is not there yet.
-- $1 order id, $2 the last day of the window.
-- Out: one row.
SELECT $2::date < (statement_timestamp() AT TIME ZONE 'UTC')::date
       AND NOT EXISTS (SELECT FROM orders WHERE order_id = $1::text) AS past
