-- disarm_workflow: a workflow time-out that only alerts has been told. $1 workflow id.
UPDATE {schema}.workflows SET deadline = NULL WHERE id = $1::uuid
