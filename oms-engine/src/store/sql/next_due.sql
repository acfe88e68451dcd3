-- next_due: milliseconds until the next delay, time-out or workflow time-out; null for none.
-- By the database's clock, so that a process with a wrong one never fires early.
-- greatest() passes over a null: without the CASE, nothing due would read as due now.
SELECT CASE WHEN n.due IS NOT NULL THEN
    greatest(0, ceil(extract(epoch FROM n.due - clock_timestamp()) * 1000))::bigint
END AS ms
FROM (
    SELECT least(
        (SELECT due_at FROM {schema}.open_tasks WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1),
        (SELECT overdue_at FROM {schema}.workflows WHERE overdue_at IS NOT NULL ORDER BY overdue_at LIMIT 1)
    ) AS due
) n
