-- try_retention: one removes at a time. Held until the transaction ends, never awaited. Out: a row if it
-- was had.
SELECT WHERE pg_try_advisory_xact_lock('{schema}.workflows'::regclass::oid::int, 0)
