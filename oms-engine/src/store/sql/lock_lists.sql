-- lock_lists: what goes by lists in one run is decided by one at a time. $1 workflow id.
-- Comes after the token of the step and before every container and the run, so that it is in no
-- circle with them.
SELECT pg_advisory_xact_lock('{schema}.open_tasks'::regclass::oid::int, hashtext($1::uuid::text))
