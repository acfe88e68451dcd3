-- insert_api_key: $1 id, $2 name, $3 role, $4 hash of its secret.
INSERT INTO {schema}.api_keys (id, name, role, secret_hash)
VALUES ($1::text, $2::text, $3::text, $4::bytea)
