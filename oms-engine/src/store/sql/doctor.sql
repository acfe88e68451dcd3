-- doctor: what is wrong, or may become so, with the server and the engine's tables. $1 after how many
-- seconds a transaction is long, $2 after how many a session or a queue is silent, $3 how many connections an
-- engine needs, $4 from how many dead rows on a table is bloated. Out: the kind of each, and what it is.
SELECT 'durability'::text AS kind, name || ' is ' || setting AS what
FROM pg_settings
WHERE (name IN ('fsync', 'full_page_writes') AND setting = 'off')
    OR (name = 'synchronous_commit' AND setting = 'off')
UNION ALL
SELECT 'vacuum', name || ' is off' FROM pg_settings WHERE name IN ('autovacuum', 'track_counts') AND setting = 'off'
UNION ALL
SELECT 'vacuum', 'autovacuum is off for ' || c.oid::regclass
FROM pg_class c
WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = '{schema}.meta'::regclass)
    AND c.reloptions && ARRAY['autovacuum_enabled=false', 'autovacuum_enabled=off']
UNION ALL
SELECT 'long transaction',
    'pid ' || a.pid || coalesce(' of ' || a.usename, '') || coalesce(' (' || nullif(a.application_name, '') || ')', '')
        || ' is in a transaction for ' || date_trunc('second', statement_timestamp() - a.xact_start) || ', ' || a.state
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
    AND a.xact_start < statement_timestamp() - $1::float8 * interval '1 second'
UNION ALL
SELECT 'long transaction',
    'the prepared transaction ' || p.gid || ' is open for ' || date_trunc('second', statement_timestamp() - p.prepared)
FROM pg_prepared_xacts p
WHERE p.database = current_database() AND p.prepared < statement_timestamp() - $1::float8 * interval '1 second'
UNION ALL
SELECT 'bloat', s.relid::regclass || ' has ' || s.n_dead_tup || ' dead rows beside ' || s.n_live_tup || ' live ones'
FROM pg_stat_user_tables s
WHERE s.schemaname = (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = '{schema}.meta'::regclass)
    AND s.n_dead_tup > greatest($4::bigint, s.n_live_tup)
UNION ALL
SELECT 'connections', x.name || ' leaves ' || greatest(x.most - x.used, 0) || ' of ' || x.most || ' connections; an engine needs '
        || $3::bigint
FROM (
    SELECT 'max_connections' AS name,
        current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint AS most,
        -- Of others' sessions a plain role is told no more than this.
        (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL) AS used
    UNION ALL
    SELECT 'the limit of database ' || d.datname, d.datconnlimit,
        (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid)
    FROM pg_database d
    WHERE d.datname = current_database() AND d.datconnlimit >= 0
    UNION ALL
    SELECT 'the limit of role ' || r.rolname, r.rolconnlimit,
        (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid)
    FROM pg_roles r
    WHERE r.rolname = session_user AND r.rolconnlimit >= 0
) x
WHERE x.most - x.used < $3::bigint
UNION ALL
SELECT 'session', s.name || ' (session ' || s.id || ') was last heard of '
        || date_trunc('second', statement_timestamp() - s.heartbeat_at) || ' ago, and nobody has taken over'
FROM {schema}.sessions s
WHERE s.dead_at IS NULL AND s.heartbeat_at < statement_timestamp() - $2::float8 * interval '1 second'
UNION ALL
SELECT 'no engine', 'no engine lives'
WHERE NOT EXISTS (
    SELECT FROM {schema}.sessions s
    WHERE s.dead_at IS NULL AND s.heartbeat_at >= statement_timestamp() - $2::float8 * interval '1 second'
)
UNION ALL
SELECT 'no worker', t.tasks || ' tasks are ready in the queue ' || t.queue || ', the oldest for '
        || date_trunc('second', statement_timestamp() - t.oldest) || ', and nobody asks for them'
FROM (
    SELECT o.queue, count(*) AS tasks, min(o.scheduled_at) AS oldest
    FROM {schema}.open_tasks o
    WHERE o.state = 0 AND o.queue <> '$system'
    GROUP BY o.queue
) t
WHERE t.oldest < statement_timestamp() - $2::float8 * interval '1 second'
    AND NOT EXISTS (
        SELECT FROM {schema}.worker_polls p
        WHERE p.task_type = t.queue AND p.domain = ''
            AND p.polled_at > statement_timestamp() - ($2::float8 + 10) * interval '1 second'
    )
UNION ALL
(SELECT 'stuck', 'workflow ' || s.workflow_id || ': ' || s.reason FROM {schema}.stuck_workflows s LIMIT 100)
ORDER BY kind, what
