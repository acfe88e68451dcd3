-- lock_session: the lock that lives as long as the session's connection. $1 session id.
-- The oid of the table tells schemas of one database apart.
SELECT pg_try_advisory_lock('{schema}.sessions'::regclass::oid::int, $1::bigint::int) AS locked
