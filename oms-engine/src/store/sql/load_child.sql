-- load_child: the run that a task waits for. $1 its id, $2 the parent's id.
SELECT id, name, version, status, output, reason
FROM {schema}.workflows
WHERE id = $1::uuid AND parent_id = $2::uuid
