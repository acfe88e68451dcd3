-- find_waiting: the orders that wait for one of these articles, locked until the transaction ends;
-- those that somebody else has in hand are passed by, so that nobody waits here.
-- $1 skus, $2 how many at most.
-- Out: order id and workflow id, those that came first first.
SELECT o.order_id, o.workflow_id
FROM stock_reservations r
JOIN orders o ON o.order_id = r.order_id
WHERE r.status = 'BACKORDERED'
  AND EXISTS (SELECT FROM reservation_lines l WHERE l.order_id = r.order_id AND l.sku = ANY ($1::text[]))
ORDER BY r.queue_number
LIMIT $2::bigint
FOR NO KEY UPDATE OF o SKIP LOCKED
