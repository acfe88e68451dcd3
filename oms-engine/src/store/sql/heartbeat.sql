-- heartbeat: $1 session id, $2 the number of the limits by which all of this engine goes; $3 task
-- types for which workers ask here in $4 domains (as record_polls); $5 whether to look at open tasks.
-- Out: whether the session lives; the oldest engine that may work; the database's time; the ids
-- leased to holders of this session, and to which of them, where $5; whether other sessions are
-- known, and whether one of them lives or holds tasks; when the next time is up (as next_due and
-- next_fire), where $5; the number of the limits; whether events wait to be looked after; who has asked for work lately
-- (as list_polls). All that an idle engine asks for, so that this is its only statement.
WITH beat AS (
    UPDATE {schema}.sessions SET heartbeat_at = statement_timestamp(), limits_seen = $2::bigint
    WHERE id = $1::bigint AND dead_at IS NULL
    RETURNING id
),
-- Arrays, so that the index on holder is used whatever the statistics say.
held AS MATERIALIZED (
    SELECT id, holder FROM {schema}.open_tasks
    WHERE $5::bool
        AND holder = ANY (ARRAY(SELECT h.id FROM {schema}.holders h WHERE h.session_id = $1::bigint))
),
polled AS (
    INSERT INTO {schema}.worker_polls AS p (task_type, domain)
    SELECT DISTINCT u.task_type, u.domain
    FROM unnest($3::text[], $4::text[]) AS u(task_type, domain)
    ORDER BY u.task_type, u.domain
    ON CONFLICT (task_type, domain) DO UPDATE SET polled_at = excluded.polled_at
        WHERE p.polled_at < excluded.polled_at
            - CASE WHEN p.domain = '' THEN interval '10 seconds' ELSE interval '1 second' END
),
polls AS MATERIALIZED (
    SELECT task_type, domain,
        (extract(epoch FROM statement_timestamp() - polled_at) * 1000)::bigint AS age_ms
    FROM {schema}.worker_polls
    WHERE domain <> '' AND polled_at > statement_timestamp() - interval '1 minute'
)
SELECT
    EXISTS (SELECT FROM beat) AS alive,
    (SELECT min_engine FROM {schema}.meta) AS min_engine,
    clock_timestamp() AS now,
    coalesce((SELECT array_agg(id) FROM held), '{}') AS leased,
    coalesce((SELECT array_agg(holder) FROM held), '{}') AS leased_to,
    EXISTS (SELECT FROM {schema}.sessions s WHERE s.id <> $1::bigint) AS others,
    EXISTS (SELECT FROM {schema}.sessions s WHERE s.id <> $1::bigint AND s.dead_at IS NULL)
        OR EXISTS (
            SELECT FROM {schema}.open_tasks t
            WHERE t.holder = ANY (
                ARRAY(SELECT h.id FROM {schema}.holders h WHERE h.session_id <> $1::bigint)
            )
        ) AS others_matter,
    CASE WHEN $5::bool THEN least(
        (SELECT due_at FROM {schema}.open_tasks WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1),
        (SELECT overdue_at FROM {schema}.workflows WHERE overdue_at IS NOT NULL ORDER BY overdue_at LIMIT 1),
        (
            SELECT min(next_fire_at) FROM {schema}.schedules
            WHERE next_fire_at IS NOT NULL AND NOT paused
        )
    ) END AS next_due,
    (SELECT limits_version FROM {schema}.meta) AS limits_version,
    EXISTS (SELECT FROM {schema}.events WHERE pending)
        OR EXISTS (
            SELECT FROM {schema}.event_executions
            WHERE status = 0 AND due_at <= statement_timestamp()
        ) AS events_wait,
    coalesce((SELECT array_agg(task_type) FROM polls), '{}') AS polled_types,
    coalesce((SELECT array_agg(domain) FROM polls), '{}') AS polled_domains,
    coalesce((SELECT array_agg(age_ms) FROM polls), '{}') AS polled_ms
