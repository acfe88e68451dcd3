-- remove_schemas: $1 name, $2 version (null = all). Out: a row for each that there was.
DELETE FROM {schema}.schemas
WHERE name = $1::text AND ($2::int IS NULL OR version = $2::int)
RETURNING version
