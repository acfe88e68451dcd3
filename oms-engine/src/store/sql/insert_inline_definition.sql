-- insert_inline_definition: a definition that runs bring with them: the row that says just this, or
-- a new one. $1 name, $2 version, $3 definition, $4 task definitions
WITH found AS (
    SELECT id
    FROM {schema}.workflow_definitions
    WHERE name = $1::text AND version = $2::int AND definition = $3::jsonb
        AND task_definitions = $4::jsonb
    LIMIT 1
),
new AS (
    INSERT INTO {schema}.workflow_definitions (
        name, version, definition, task_definitions, is_current
    )
    SELECT $1::text, $2::int, $3::jsonb, $4::jsonb, false
    WHERE NOT EXISTS (SELECT FROM found)
    RETURNING id
)
SELECT id FROM found UNION ALL SELECT id FROM new
