-- load_definitions: immutable rows by id. $1 ids.
SELECT id, definition, task_definitions
FROM {schema}.workflow_definitions
WHERE id = ANY ($1::bigint[])
