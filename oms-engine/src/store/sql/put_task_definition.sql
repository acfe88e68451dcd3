-- put_task_definition: $1 name, $2 definition. Out: a row if the text is new or another.
INSERT INTO {schema}.task_definitions AS t (name, definition)
VALUES ($1::text, $2::jsonb)
ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, updated_at = statement_timestamp()
    WHERE t.definition <> excluded.definition
RETURNING name
