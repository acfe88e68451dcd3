-- find_started: why a start inserted nothing. $1 ids, $2 names, $3 idempotency keys, $4 inputs.
-- Out: a row for each that exists: the id asked for, the id of the run that has the id or the key,
-- whether its input is the same, whether it has not ended.
WITH x AS MATERIALIZED (
    SELECT unnest($1::uuid[]) AS id, unnest($2::text[]) AS name,
        unnest($3::text[]) AS idempotency_key, unnest($4::jsonb[]) AS input
)
SELECT x.id AS asked, w.id AS found, w.input = x.input AS same_input, w.status IN (0, 1) AS running
FROM x
JOIN {schema}.workflows w ON w.id BETWEEN x.id AND x.id
UNION
SELECT x.id, w.id, w.input = x.input, w.status IN (0, 1)
FROM x
CROSS JOIN LATERAL (
    SELECT *
    FROM {schema}.workflows k
    WHERE k.name = x.name AND k.idempotency_key = x.idempotency_key AND NOT k.key_released
    OFFSET 0
) w
