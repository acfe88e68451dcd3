-- next_due: milliseconds until the next delay, time-out or workflow time-out; null for none.
-- By the database's clock, so that a process with a wrong one never fires early.
SELECT greatest(0, ceil(extract(epoch FROM least(
    (SELECT min(due_at) FROM {schema}.open_tasks WHERE due_at IS NOT NULL),
    (SELECT min(deadline) FROM {schema}.workflows WHERE status = 0 AND deadline IS NOT NULL)
) - clock_timestamp()) * 1000))::bigint AS ms
