-- try_limits: the locks of limits, tried and never awaited; held until the transaction ends. What
-- is counted under them is counted by a later statement: this one's view of the tables is older
-- than its locks. $1 names.
-- Out: those whose lock was had, and whether a lease may have been taken that nobody counted.
SELECT n.name,
    coalesce(l.concurrent IS NOT NULL
        AND l.counted_since > statement_timestamp() - interval '1 minute', false) AS uncounted
FROM unnest($1::text[]) AS n(name)
LEFT JOIN {schema}.task_limits l ON l.name = n.name
WHERE pg_try_advisory_xact_lock(
    '{schema}.task_limits'::regclass::oid::int, hashtext(n.name)
)
