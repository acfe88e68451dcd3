-- load_set_aside: how often each step of restarted runs had COMPLETED and was set aside.
-- An optional step that failed has not: what it did outside may be unknown, so its key stays.
-- $1 workflow ids.
SELECT h.workflow_id, h.reference_name, count(*)::smallint AS times
FROM {schema}.task_history h
JOIN {schema}.workflows w ON w.id = h.workflow_id
WHERE h.workflow_id = ANY ($1::uuid[]) AND h.status = 0
    AND {schema}.is_cut_off(w.cuts, h.workflow_id, h.epoch, h.seq, h.queue, h.ended_at)
GROUP BY h.workflow_id, h.reference_name
