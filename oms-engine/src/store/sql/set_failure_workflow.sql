-- set_failure_workflow: notes which workflow was started for a run that failed in the same
-- transaction. $1 workflow id, $2 failure workflow, $3 the run's output
UPDATE {schema}.workflows SET failure_workflow_id = $2::uuid, output = $3::jsonb WHERE id = $1::uuid
