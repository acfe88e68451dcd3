-- remove_workflows: ended runs, whose rows are locked, with all that is kept of them. $1 ids.
WITH history AS (DELETE FROM {schema}.task_history WHERE workflow_id = ANY ($1::uuid[])),
logs AS (DELETE FROM {schema}.task_logs WHERE workflow_id = ANY ($1::uuid[])),
operations AS (DELETE FROM {schema}.operations WHERE workflow_id = ANY ($1::uuid[])),
kept AS (DELETE FROM {schema}.kept_tasks WHERE workflow_id = ANY ($1::uuid[])),
-- What relatives tell them.
told AS (DELETE FROM {schema}.open_tasks WHERE workflow_id = ANY ($1::uuid[]))
DELETE FROM {schema}.workflows WHERE id = ANY ($1::uuid[])
