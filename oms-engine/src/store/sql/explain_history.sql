-- explain_history: the times of what has ended of a run and is visible, what ended last first,
-- without payloads. $1 workflow id, $2 how many at most.
SELECT h.reference_name, h.attempt, h.seq, h.queue, h.scheduled_at, h.started_at, h.ended_at
FROM (SELECT id, cuts FROM {schema}.workflows WHERE id = $1::uuid) w
CROSS JOIN LATERAL (SELECT * FROM {schema}.task_history t WHERE t.workflow_id = $1::uuid OFFSET 0) h
WHERE (w.cuts IS NULL OR NOT {schema}.is_cut_off(w.cuts, h.workflow_id, h.epoch, h.seq, h.queue, h.ended_at))
ORDER BY h.ended_at DESC, h.seq DESC
LIMIT $2::bigint
