-- load_history: the visible history of runs, in order. $1 workflow ids, $2 whether inputs are read.
-- A row of an older epoch is visible if no later epoch has cut it off.
SELECT h.workflow_id, h.reference_name, h.epoch, h.attempt, h.status, h.seq, h.queue, h.poll_count,
    CASE WHEN $2::bool THEN h.input END AS input, h.output, h.worker, h.reason, h.scheduled_at,
    h.started_at, h.ended_at
FROM {schema}.task_history h
JOIN {schema}.workflows w ON w.id = h.workflow_id
WHERE h.workflow_id = ANY ($1::uuid[])
    AND (w.cuts IS NULL OR NOT {schema}.is_cut_off(w.cuts, h.workflow_id, h.epoch, h.seq, h.queue, h.ended_at))
ORDER BY h.workflow_id, h.seq, h.attempt
