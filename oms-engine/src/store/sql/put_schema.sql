-- put_schema: registers a schema in place of the one of its name and version.
-- $1 name, $2 version, $3 definition
INSERT INTO {schema}.schemas (name, version, definition)
VALUES ($1::text, $2::int, $3::jsonb)
ON CONFLICT (name, version) DO UPDATE
SET definition = excluded.definition, updated_at = statement_timestamp()
