-- overdue_workflows: running workflows whose time-out has passed. $1 how many at most.
SELECT id, definition_id
FROM {schema}.workflows
WHERE overdue_at <= statement_timestamp()
ORDER BY overdue_at
LIMIT $1::bigint
