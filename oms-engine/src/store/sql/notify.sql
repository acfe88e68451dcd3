-- notify: tells other processes that a queue has ready tasks. $1 channel, $2 payload.
SELECT pg_notify($1::text, $2::text)
