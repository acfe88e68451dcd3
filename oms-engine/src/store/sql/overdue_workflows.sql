-- overdue_workflows: running workflows whose time-out has passed. $1 how many at most.
SELECT id, definition_id
FROM {schema}.workflows
WHERE status = 0 AND deadline <= statement_timestamp()
ORDER BY deadline
LIMIT $1::bigint
