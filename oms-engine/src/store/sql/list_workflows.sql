-- list_workflows: runs, newest first, a page at a time.
-- $1 name, $2 statuses, $3 correlation id, $4 created from, $5 created before (each null = any),
-- $6 ids below this one (null = from the newest), $7 how many
SELECT id, name, version, status, priority, correlation_id, idempotency_key, created_at, ended_at,
    reason
FROM {schema}.workflows
WHERE ($1::text IS NULL OR name = $1::text)
    AND ($2::smallint[] IS NULL OR status = ANY ($2::smallint[]))
    AND ($3::text IS NULL OR correlation_id = $3::text)
    AND ($4::timestamptz IS NULL OR created_at >= $4::timestamptz)
    AND ($5::timestamptz IS NULL OR created_at < $5::timestamptz)
    AND ($6::uuid IS NULL OR id < $6::uuid)
ORDER BY id DESC
LIMIT $7::bigint
