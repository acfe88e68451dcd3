-- load_history: the visible history of runs, in order. $1 workflow ids, $2 whether inputs are read.
-- A row of an older epoch is visible if no later epoch has cut it off.
-- Each run's rows by themselves: with all in one scan the planner may read the whole table in the
-- order that is asked for, and pick the runs out of it.
SELECT h.workflow_id, h.reference_name, h.epoch, h.attempt, h.status, h.seq, h.queue, h.poll_count,
    CASE WHEN $2::bool THEN h.input END AS input, h.output, h.worker, h.reason, h.scheduled_at,
    h.started_at, h.ended_at
FROM (SELECT DISTINCT unnest($1::uuid[]) AS id) run
JOIN {schema}.workflows w ON w.id BETWEEN run.id AND run.id
CROSS JOIN LATERAL (SELECT * FROM {schema}.task_history t WHERE t.workflow_id = run.id OFFSET 0) h
WHERE (w.cuts IS NULL OR NOT {schema}.is_cut_off(w.cuts, h.workflow_id, h.epoch, h.seq, h.queue, h.ended_at))
ORDER BY h.workflow_id, h.seq, h.attempt
