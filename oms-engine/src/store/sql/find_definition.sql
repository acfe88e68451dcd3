-- find_definition: the row that a start of this name uses now. $1 name, $2 version (null = latest).
SELECT id, definition, task_definitions
FROM {schema}.workflow_definitions
WHERE name = $1::text AND is_current AND (version = $2::int OR ($2::int IS NULL AND is_latest))
