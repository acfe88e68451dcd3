-- find_return: a return that was asked for.
-- $1 order id, $2 return id.
-- Out: no row or one.
SELECT pieces, refund_minor
FROM order_returns
WHERE order_id = $1::text AND return_id = $2::text
