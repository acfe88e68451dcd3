-- list_task_definitions: all, by name.
SELECT name, definition FROM {schema}.task_definitions ORDER BY name
