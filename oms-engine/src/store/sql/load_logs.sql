-- load_logs: the lines of one attempt, oldest first. $1 workflow id, $2 reference, $3 epoch,
-- $4 attempt. + 0: see lock_leaves.
SELECT line, created_at
FROM {schema}.task_logs
WHERE workflow_id = $1::uuid AND reference_name = $2::text AND epoch = $3::smallint
    AND attempt = $4::smallint
ORDER BY id + 0
