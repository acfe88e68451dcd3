-- load_set_aside: how often each step of restarted runs had COMPLETED and was set aside.
-- What a run was not able to undo still stands: its key stays, so that it is not done twice.
-- An optional step that failed has not: what it did outside may be unknown, so its key stays.
-- $1 workflow ids.
SELECT h.workflow_id, h.reference_name, count(*)::smallint AS times
FROM {schema}.task_history h
JOIN {schema}.workflows w ON w.id BETWEEN h.workflow_id AND h.workflow_id
WHERE h.workflow_id = ANY ($1::uuid[]) AND h.status = 0
    AND {schema}.is_cut_off(w.cuts, h.workflow_id, h.epoch, h.seq, h.queue, h.ended_at)
    AND NOT EXISTS (
        SELECT FROM jsonb_to_recordset(w.cuts) AS c(epoch smallint, "left" jsonb)
        WHERE c.epoch > h.epoch
            AND c."left" @> jsonb_build_array(jsonb_build_object('referenceTaskName', h.reference_name))
    )
GROUP BY h.workflow_id, h.reference_name
