-- last_output: what the task of a run gave that was scheduled last. $1 workflow id.
SELECT h.output
FROM {schema}.task_history h
JOIN {schema}.workflows w ON w.id = h.workflow_id AND w.epoch = h.epoch
WHERE h.workflow_id = $1::uuid
ORDER BY h.seq DESC, h.attempt DESC
LIMIT 1
