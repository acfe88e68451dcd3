-- revoke_api_key: $1 id. Out: a row if there is one; one that was revoked before stays as it is.
UPDATE {schema}.api_keys
SET revoked_at = coalesce(revoked_at, statement_timestamp())
WHERE id = $1::text
RETURNING id
