-- load_turns: the visible history of a loop's body, in order. $1 workflow id, $2 reference names.
SELECT h.workflow_id, h.reference_name, h.epoch, h.attempt, h.status, h.seq, h.queue, h.poll_count,
    NULL::jsonb AS input, h.output, h.worker, h.reason, h.scheduled_at, h.started_at, h.ended_at
FROM {schema}.task_history h
JOIN {schema}.workflows w ON w.id = h.workflow_id
WHERE h.workflow_id = $1::uuid
    AND split_part(h.reference_name, '__', 1) = ANY ($2::text[])
    AND strpos(h.reference_name, '__') > 0
    AND (w.cuts IS NULL OR NOT {schema}.is_cut_off(w.cuts, h.workflow_id, h.epoch, h.seq, h.queue, h.ended_at))
ORDER BY h.seq, h.attempt
