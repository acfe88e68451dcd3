-- list_operations: what operators did to a run, the last first. $1 workflow id, $2 how many.
SELECT action, reference_name, operator, reason, at
FROM {schema}.operations
WHERE workflow_id = $1::uuid
ORDER BY id DESC
LIMIT $2::bigint
