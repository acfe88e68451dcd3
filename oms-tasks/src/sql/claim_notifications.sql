-- claim_notifications: locks up to $1 notifications that are due; other senders pass them by.
-- Out: oldest first. Index: notifications_pending_idx.
SELECT notification_id, order_id, stage, part, recipient, body, attempts
FROM notifications
WHERE status = 'PENDING' AND next_attempt_at <= statement_timestamp()
ORDER BY notification_id
LIMIT $1::bigint
FOR NO KEY UPDATE SKIP LOCKED
