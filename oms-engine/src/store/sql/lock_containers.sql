-- lock_containers: locks the containers of a run in id order, after its leaves. $1 workflow id.
-- + 0: see lock_leaves.
SELECT id FROM {schema}.open_tasks WHERE workflow_id = $1::uuid AND state = 3 ORDER BY id + 0 FOR UPDATE
