-- remove_workflow: an ended run, whose row is locked, with all that is kept of it. $1 workflow id.
WITH history AS (DELETE FROM {schema}.task_history WHERE workflow_id = $1::uuid),
logs AS (DELETE FROM {schema}.task_logs WHERE workflow_id = $1::uuid),
operations AS (DELETE FROM {schema}.operations WHERE workflow_id = $1::uuid),
kept AS (DELETE FROM {schema}.kept_tasks WHERE workflow_id = $1::uuid),
-- What relatives tell it.
told AS (DELETE FROM {schema}.open_tasks WHERE workflow_id = $1::uuid)
DELETE FROM {schema}.workflows WHERE id = $1::uuid
