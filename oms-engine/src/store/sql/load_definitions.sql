-- load_definitions: immutable rows by id. $1 ids.
SELECT id, name, version, definition, task_definitions, is_latest
FROM {schema}.workflow_definitions
WHERE id = ANY ($1::bigint[])
