-- record_polls: workers of these task types ask for work in these domains. $1 types, $2 domains.
-- Without a domain the type is the name of a whole queue; that is told less often.
-- Engines that serve the same do not write it over and over.
INSERT INTO {schema}.worker_polls AS p (task_type, domain)
SELECT DISTINCT u.task_type, u.domain
FROM unnest($1::text[], $2::text[]) AS u(task_type, domain)
ORDER BY u.task_type, u.domain
ON CONFLICT (task_type, domain) DO UPDATE SET polled_at = excluded.polled_at
    WHERE p.polled_at < excluded.polled_at
        - CASE WHEN p.domain = '' THEN interval '10 seconds' ELSE interval '1 second' END
