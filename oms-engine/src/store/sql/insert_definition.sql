-- insert_definition: a new immutable row, current at once. $1 name, $2 version, $3 definition,
-- $4 task definitions
INSERT INTO {schema}.workflow_definitions (name, version, definition, task_definitions)
VALUES ($1::text, $2::int, $3::jsonb, $4::jsonb)
RETURNING id
