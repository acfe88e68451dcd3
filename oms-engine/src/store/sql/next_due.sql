-- next_due: milliseconds until the next delay, time-out or workflow time-out; null for none.
-- By the database's clock, so that a process with a wrong one never fires early.
-- greatest() passes over a null: without the CASE, nothing due would read as due now.
SELECT CASE WHEN n.due IS NOT NULL THEN
    greatest(0, ceil(extract(epoch FROM n.due - clock_timestamp()) * 1000))::bigint
END AS ms
FROM (
    SELECT least(
        (SELECT min(due_at) FROM {schema}.open_tasks WHERE due_at IS NOT NULL),
        (SELECT min(deadline) FROM {schema}.workflows WHERE status = 0 AND deadline IS NOT NULL)
    ) AS due
) n
