-- list_definitions: the current definitions, by name and version.
SELECT id, name, version, definition, task_definitions, is_latest
FROM {schema}.workflow_definitions
WHERE is_current
ORDER BY name, version
