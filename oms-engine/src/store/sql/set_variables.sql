-- set_variables: variables from outside. All tokens of the run and its row are locked; their new rev
-- sends whoever decides from memory the slow way. $1 workflow id, $2 all variables
WITH w AS (
    UPDATE {schema}.workflows SET variables = $2::jsonb WHERE id = $1::uuid
)
UPDATE {schema}.open_tasks SET rev = rev + 1 WHERE workflow_id = $1::uuid
