-- count_leases: permits for leases of these tasks that have none: they were taken before their
-- limit was set, or by an engine that had not heard of it. $1 names, their locks held.
INSERT INTO {schema}.task_permits (token_id, name)
SELECT t.id, n.name
FROM {schema}.open_tasks t
JOIN unnest($1::text[]) AS n(name)
    ON coalesce(t.task_type, t.queue) = n.name
        OR right(coalesce(t.task_type, t.queue), length(n.name) + 1) = ':' || n.name
WHERE t.holder = ANY (ARRAY(SELECT id FROM {schema}.holders UNION ALL SELECT -1)) AND t.queue <> '$system'
ON CONFLICT DO NOTHING
