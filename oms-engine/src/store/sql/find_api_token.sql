-- find_api_token: $1 hash. Out: the key's id, and for how many milliseconds it still is good; none or
-- fewer for one that has run out.
SELECT key_id, (extract(epoch FROM expires_at - statement_timestamp()) * 1000)::bigint
FROM {schema}.api_tokens
WHERE hash = $1::bytea
