-- order_summary: all that the tables say of an order, as one json object.
-- $1 order id.  Out: no row or one.
SELECT jsonb_build_object(
    'order_id', o.order_id,
    'workflow_id', o.workflow_id,
    'status', o.status,
    'customer_name', o.customer_name,
    'customer_email', o.customer_email,
    'currency', o.currency,
    'total_minor', o.total_minor,
    'acknowledged_at', o.acknowledged_at,
    'completed_at', o.completed_at,
    'failed_at', o.failed_at,
    'failure_reason', o.failure_reason,
    'cancelled_at', o.cancelled_at,
    'delivery_window', CASE WHEN o.deliver_to IS NOT NULL
        THEN jsonb_build_object('from', o.deliver_from, 'to', o.deliver_to) END,
    'items', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'line_no', i.line_no, 'sku', i.sku, 'quantity', i.quantity,
            'unit_price_minor', i.unit_price_minor) ORDER BY i.line_no), '[]')
        FROM order_items i WHERE i.order_id = o.order_id),
    'payment', (
        SELECT jsonb_build_object(
            'status', p.status, 'method', p.method, 'amount_minor', p.amount_minor,
            'charge_id', p.charge_id, 'captured_at', p.captured_at,
            'decline_code', p.decline_code, 'refund_id', p.refund_id,
            'refunded_minor', p.refunded_minor, 'refunded_at', p.refunded_at)
        FROM payments p WHERE p.order_id = o.order_id),
    'authorisation', (
        SELECT jsonb_build_object(
            'status', p.status, 'method', p.method, 'amount_minor', p.amount_minor,
            'payment_id', p.payment_id, 'decline_code', p.decline_code,
            'captured_minor', p.captured_minor, 'refunded_minor', p.refunded_minor,
            'authorised_at', p.authorised_at, 'captured_at', p.captured_at,
            'reversed_at', p.reversed_at)
        FROM payment_intents p WHERE p.order_id = o.order_id),
    'refunds', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'status', r.status, 'amount_minor', r.amount_minor, 'refund_id', r.refund_id,
            'refusal_code', r.refusal_code, 'created_at', r.created_at,
            'ended_at', r.ended_at) ORDER BY r.created_at, r.idempotency_key), '[]')
        FROM payment_refunds r WHERE r.order_id = o.order_id),
    'reservation', (
        SELECT jsonb_build_object(
            'status', r.status, 'created_at', r.created_at, 'reserved_at', r.reserved_at,
            'expires_at', r.expires_at, 'ended_at', r.ended_at,
            'pieces', (
                SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'sku', p.sku, 'warehouse', p.warehouse, 'quantity', p.quantity,
                    'returned', p.returned) ORDER BY p.sku, p.warehouse), '[]')
                FROM reservation_pieces p WHERE p.order_id = o.order_id))
        FROM stock_reservations r WHERE r.order_id = o.order_id),
    'bookings', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'sku', b.sku, 'quantity', b.quantity, 'status', b.status,
            'booked_at', b.booked_at, 'released_at', b.released_at) ORDER BY b.sku), '[]')
        FROM stock_bookings b WHERE b.order_id = o.order_id),
    'deliveries', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'warehouse', d.warehouse, 'status', d.status, 'tracking_number', d.tracking_number,
            'delivery_date', d.delivery_date, 'refusal_code', d.refusal_code,
            'scheduled_at', d.scheduled_at, 'cancelled_at', d.cancelled_at,
            'progress', d.progress, 'progress_at', d.progress_at,
            'updates', (
                SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'status', u.status, 'happened_at', u.happened_at)
                    ORDER BY u.happened_at, u.received_at), '[]')
                FROM delivery_updates u
                WHERE u.order_id = d.order_id AND u.warehouse = d.warehouse)
            ) ORDER BY d.warehouse), '[]')
        FROM delivery_schedule d WHERE d.order_id = o.order_id),
    'notifications', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'stage', n.stage, 'status', n.status, 'recipient', n.recipient, 'body', n.body,
            'created_at', n.created_at, 'sent_at', n.sent_at) ORDER BY n.notification_id), '[]')
        FROM notifications n WHERE n.order_id = o.order_id),
    'history', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('at', h.at, 'what', h.what)
                                  ORDER BY h.at, h.place), '[]')
        FROM (
            SELECT o.acknowledged_at, 1, 'ACKNOWLEDGED'
            UNION ALL SELECT p.captured_at, 2, 'PAID' FROM payments p
                WHERE p.order_id = o.order_id
            UNION ALL SELECT p.refunded_at, 9, 'REFUNDED' FROM payments p
                WHERE p.order_id = o.order_id
            UNION ALL SELECT p.authorised_at, 2, 'PAYMENT_AUTHORISED' FROM payment_intents p
                WHERE p.order_id = o.order_id
            UNION ALL SELECT p.captured_at, 5, 'PAYMENT_CAPTURED' FROM payment_intents p
                WHERE p.order_id = o.order_id
            UNION ALL SELECT p.reversed_at, 9, 'PAYMENT_' || p.status FROM payment_intents p
                WHERE p.order_id = o.order_id
            UNION ALL SELECT r.ended_at, 9, 'PART_REFUNDED' FROM payment_refunds r
                WHERE r.order_id = o.order_id AND r.status = 'REFUNDED'
            UNION ALL SELECT r.created_at, 9, 'ITEMS_RETURNED' FROM order_returns r
                WHERE r.order_id = o.order_id
            UNION ALL SELECT min(b.booked_at), 3, 'BOOKED' FROM stock_bookings b
                WHERE b.order_id = o.order_id
            UNION ALL SELECT r.reserved_at, 3, 'STOCK_RESERVED' FROM stock_reservations r
                WHERE r.order_id = o.order_id
            UNION ALL SELECT r.ended_at, 8, 'STOCK_' || r.status FROM stock_reservations r
                WHERE r.order_id = o.order_id
            UNION ALL SELECT n.created_at, 3, 'BACKORDERED' FROM notifications n
                WHERE n.order_id = o.order_id AND n.stage = 'BACKORDERED'
            UNION ALL SELECT d.scheduled_at, 4, 'DELIVERY_SCHEDULED' FROM delivery_schedule d
                WHERE d.order_id = o.order_id
            UNION ALL SELECT d.cancelled_at, 8, 'DELIVERY_CANCELLED' FROM delivery_schedule d
                WHERE d.order_id = o.order_id
            UNION ALL SELECT u.happened_at, 9, 'DELIVERY_' || u.status FROM delivery_updates u
                WHERE u.order_id = o.order_id
            UNION ALL SELECT o.completed_at, 8, 'COMPLETED'
            UNION ALL SELECT o.cancelled_at, 7, 'CANCELLATION_ASKED_FOR'
            UNION ALL SELECT o.failed_at, 10, o.status
        ) AS h (at, place, what)
        WHERE h.at IS NOT NULL)) AS summary
FROM orders o
WHERE o.order_id = $1::text
