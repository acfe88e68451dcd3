-- Keys that clients of a server come with, and the tokens that they were given for them. Of secrets and
-- tokens only hashes are kept. A key that was revoked stays: as long as there is a row, clients are asked.

CREATE TABLE {schema}.api_keys (
    id text PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL CONSTRAINT api_keys_role CHECK (role IN ('read', 'work', 'admin')),
    secret_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    revoked_at timestamptz
);

CREATE TABLE {schema}.api_tokens (
    hash bytea PRIMARY KEY,
    key_id text NOT NULL REFERENCES {schema}.api_keys (id),
    expires_at timestamptz NOT NULL
);

CREATE INDEX api_tokens_expiry ON {schema}.api_tokens (expires_at);
