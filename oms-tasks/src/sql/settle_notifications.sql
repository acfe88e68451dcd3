-- settle_notifications: writes how the delivery of claimed notifications went.
-- $1 ids, $2 errors (null: it was delivered), $3 seconds until the next attempt (null: there is
-- none).  Out: the number of rows written.
UPDATE notifications n
SET attempts = n.attempts + 1,
    status = CASE WHEN d.error IS NULL THEN 'SENT'
                  WHEN d.delay_seconds IS NULL THEN 'UNDELIVERABLE'
                  ELSE 'PENDING' END,
    sent_at = CASE WHEN d.error IS NULL THEN statement_timestamp() END,
    next_attempt_at = CASE WHEN d.delay_seconds IS NULL THEN n.next_attempt_at
                           ELSE statement_timestamp() + make_interval(secs => d.delay_seconds) END,
    last_error = d.error
FROM unnest($1::bigint[], $2::text[], $3::float8[]) AS d (notification_id, error, delay_seconds)
WHERE n.notification_id = d.notification_id AND n.status = 'PENDING'
