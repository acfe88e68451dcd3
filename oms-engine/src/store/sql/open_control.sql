-- open_control: a token of no task that tells a run what became of a relative, for whichever
-- engine takes it. $1 workflow id, $2 what is told. Out: a row if there is such a run.
INSERT INTO {schema}.open_tasks (workflow_id, reference_name, epoch, queue, state, priority, input)
SELECT w.id, '', w.epoch, '$system', 0, w.priority, $2::jsonb
FROM {schema}.workflows w
WHERE w.id = $1::uuid
RETURNING id
