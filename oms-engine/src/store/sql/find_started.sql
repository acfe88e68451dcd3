-- find_started: why a start inserted nothing. $1 ids, $2 names, $3 idempotency keys, $4 inputs.
-- Out: a row for each that exists: the id asked for, the id of the run that has the id or the key,
-- whether its input is the same, whether it has not ended.
SELECT x.id AS asked, w.id AS found, w.input = x.input AS same_input, w.status IN (0, 1) AS running
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[]) AS x(id, name, idempotency_key, input)
JOIN {schema}.workflows w
    ON w.id = x.id
        OR (w.name = x.name AND w.idempotency_key = x.idempotency_key AND NOT w.key_released)
