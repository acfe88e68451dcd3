-- load_child: the run that a token waits for. $1 the parent's id, $2 its token.
SELECT id, name, version, status, output, reason
FROM {schema}.workflows
WHERE parent_id = $1::uuid AND parent_token = $2::bigint
ORDER BY created_at DESC
LIMIT 1
