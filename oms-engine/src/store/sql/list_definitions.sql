-- list_definitions: the current definitions, by name and version.
SELECT id, definition, task_definitions
FROM {schema}.workflow_definitions
WHERE is_current
ORDER BY name, version
