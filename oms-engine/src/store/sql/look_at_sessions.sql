-- look_at_sessions: the other sessions, for rescue. $1 own session id.
-- Out: id, whether somebody holds its lock, age of its last heartbeat in ms, whether it is known
-- dead, whether it holds tasks, and since when this server knows of locks: since its start, and on a
-- promoted standby since the last commit that it had from the server before.
SELECT s.id,
    EXISTS (
        SELECT FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.granted
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND l.classid = '{schema}.sessions'::regclass::oid AND l.objid = s.id::int::oid
            AND l.objsubid = 2
    ) AS locked,
    (extract(epoch FROM statement_timestamp() - s.heartbeat_at) * 1000)::bigint AS age_ms,
    s.heartbeat_at,
    s.dead_at IS NOT NULL AS dead,
    EXISTS (
        SELECT FROM {schema}.open_tasks t
        WHERE t.holder = ANY (ARRAY(SELECT h.id FROM {schema}.holders h WHERE h.session_id = s.id))
    ) AS holds,
    greatest(pg_postmaster_start_time(), pg_last_xact_replay_timestamp()) AS locks_since
FROM {schema}.sessions s
WHERE s.id <> $1::bigint
