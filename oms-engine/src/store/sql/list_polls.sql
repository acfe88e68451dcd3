-- list_polls: who asked for work in a domain lately, and how long ago that is in ms.
SELECT task_type, domain,
    (extract(epoch FROM statement_timestamp() - polled_at) * 1000)::bigint AS age_ms
FROM {schema}.worker_polls
WHERE domain <> '' AND polled_at > statement_timestamp() - interval '1 minute'
