-- insert_api_token: $1 hash, $2 the key's id, $3 for how many milliseconds. Out: a row, unless the key
-- is revoked. Some of those that have run out are removed on the way.
WITH spent AS (
    SELECT hash
    FROM {schema}.api_tokens
    WHERE expires_at < statement_timestamp()
    ORDER BY expires_at
    LIMIT 100
    FOR UPDATE SKIP LOCKED
), removed AS (
    DELETE FROM {schema}.api_tokens t USING spent WHERE t.hash = spent.hash
)
INSERT INTO {schema}.api_tokens (hash, key_id, expires_at)
SELECT $1::bytea, id, statement_timestamp() + $3::bigint * interval '1 millisecond'
FROM {schema}.api_keys
WHERE id = $2::text AND revoked_at IS NULL
RETURNING key_id
