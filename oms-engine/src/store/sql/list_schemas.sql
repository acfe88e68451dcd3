-- list_schemas: by name and version. $1 name (null = all).
SELECT definition
FROM {schema}.schemas
WHERE $1::text IS NULL OR name = $1::text
ORDER BY name, version
