-- list_api_keys: all of them, the oldest first; also those that were revoked.
SELECT id, name, role, secret_hash, created_at, revoked_at
FROM {schema}.api_keys
ORDER BY created_at, id
