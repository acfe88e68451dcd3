-- load_facts: the last visible attempt of steps, by what is asked for.
-- $1 workflow ids, $2 reference names, $3 whether the step stands in a loop, so that history has
-- it under its name and turns and the last turn counts; $4 whether inputs are read.
SELECT h.workflow_id, h.reference_name, h.epoch, h.attempt, h.status, h.seq, h.queue, h.poll_count,
    CASE WHEN $4::bool THEN h.input END AS input, h.output, h.worker, h.reason, h.scheduled_at,
    h.started_at, h.ended_at
FROM unnest($1::uuid[], $2::text[], $3::bool[]) AS q(workflow_id, reference_name, in_loop)
JOIN {schema}.workflows w ON w.id BETWEEN q.workflow_id AND q.workflow_id
CROSS JOIN LATERAL (
    (SELECT t.*
    FROM {schema}.task_history t
    WHERE NOT q.in_loop AND t.workflow_id = q.workflow_id AND t.reference_name = q.reference_name
        AND (w.cuts IS NULL OR NOT {schema}.is_cut_off(w.cuts, t.workflow_id, t.epoch, t.seq, t.queue, t.ended_at))
    ORDER BY t.epoch DESC, t.attempt DESC
    LIMIT 1)
    UNION ALL
    (SELECT t.*
    FROM {schema}.task_history t
    WHERE q.in_loop AND t.workflow_id = q.workflow_id
        AND split_part(t.reference_name, '__', 1) = q.reference_name
        AND strpos(t.reference_name, '__') > 0
        AND (w.cuts IS NULL OR NOT {schema}.is_cut_off(w.cuts, t.workflow_id, t.epoch, t.seq, t.queue, t.ended_at))
    ORDER BY t.seq DESC
    LIMIT 1)
) h
ORDER BY h.workflow_id, h.seq
