-- remove_task_definition: $1 name. Out: a row if there was one.
DELETE FROM {schema}.task_definitions WHERE name = $1::text RETURNING name
