-- heartbeat: $1 session id, $2 the number of the limits by which all of this engine goes.
-- Out: whether the session lives; the oldest engine that may work; the database's time; the ids
-- leased to holders of this session, and to which of them; whether other sessions are known, and
-- whether one of them holds tasks; when the next open task is due; the number of the limits.
WITH beat AS (
    UPDATE {schema}.sessions SET heartbeat_at = statement_timestamp(), limits_seen = $2::bigint
    WHERE id = $1::bigint AND dead_at IS NULL
    RETURNING id
),
-- Arrays, so that the index on holder is used whatever the statistics say.
held AS MATERIALIZED (
    SELECT id, holder FROM {schema}.open_tasks
    WHERE holder = ANY (ARRAY(SELECT h.id FROM {schema}.holders h WHERE h.session_id = $1::bigint))
)
SELECT
    EXISTS (SELECT FROM beat) AS alive,
    (SELECT min_engine FROM {schema}.meta) AS min_engine,
    clock_timestamp() AS now,
    coalesce((SELECT array_agg(id) FROM held), '{}') AS leased,
    coalesce((SELECT array_agg(holder) FROM held), '{}') AS leased_to,
    EXISTS (SELECT FROM {schema}.sessions s WHERE s.id <> $1::bigint) AS others,
    EXISTS (
        SELECT FROM {schema}.holders h
        WHERE h.session_id <> $1::bigint
            AND EXISTS (SELECT FROM {schema}.open_tasks t WHERE t.holder = h.id)
    ) AS others_hold,
    (SELECT min(due_at) FROM {schema}.open_tasks WHERE due_at IS NOT NULL) AS next_due,
    (SELECT limits_version FROM {schema}.meta) AS limits_version
