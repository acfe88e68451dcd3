-- load_named: the visible history of steps, in order, by reference names without turns.
-- $1 workflow id, $2 names, $3 whether inputs are read: then only of those that hold the word
-- compensation.
SELECT h.workflow_id, h.reference_name, h.epoch, h.attempt, h.status, h.seq, h.queue, h.poll_count,
    CASE WHEN $3::bool THEN h.input END AS input, NULL::jsonb AS output, h.worker, h.reason,
    h.scheduled_at, h.started_at, h.ended_at
FROM {schema}.task_history h
JOIN {schema}.workflows w ON w.id = h.workflow_id
WHERE h.workflow_id = $1::uuid
    AND (h.reference_name = ANY ($2::text[])
        OR (strpos(h.reference_name, '__') > 0
            AND split_part(h.reference_name, '__', 1) = ANY ($2::text[])))
    AND (NOT $3::bool OR h.input::text LIKE '%"compensation"%')
    AND (w.cuts IS NULL
        OR NOT {schema}.is_cut_off(w.cuts, h.workflow_id, h.epoch, h.seq, h.queue, h.ended_at))
ORDER BY h.seq, h.attempt
