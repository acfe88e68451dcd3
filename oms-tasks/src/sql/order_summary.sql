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
    'bookings', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'sku', b.sku, 'quantity', b.quantity, 'status', b.status,
            'booked_at', b.booked_at, 'released_at', b.released_at) ORDER BY b.sku), '[]')
        FROM stock_bookings b WHERE b.order_id = o.order_id),
    'delivery', (
        SELECT jsonb_build_object(
            'status', d.status, 'tracking_number', d.tracking_number,
            'delivery_date', d.delivery_date, 'refusal_code', d.refusal_code,
            'scheduled_at', d.scheduled_at, 'cancelled_at', d.cancelled_at)
        FROM delivery_schedule d WHERE d.order_id = o.order_id),
    'notifications', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'stage', n.stage, 'status', n.status, 'recipient', n.recipient, 'body', n.body,
            'created_at', n.created_at, 'sent_at', n.sent_at) ORDER BY n.notification_id), '[]')
        FROM notifications n WHERE n.order_id = o.order_id)) AS summary
FROM orders o
WHERE o.order_id = $1::text
