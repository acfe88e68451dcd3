-- lock_limits: waits for the claims that are made under these limits; held until the transaction
-- ends. What they have written is seen by a later statement. $1 names.
SELECT count(pg_advisory_xact_lock('{schema}.task_limits'::regclass::oid::int, n.lock))
FROM (SELECT DISTINCT hashtext(name) AS lock FROM unnest($1::text[]) AS name ORDER BY lock) n
