-- load_set_aside: how often each step of restarted runs had COMPLETED and was set aside.
-- An optional step that failed has not: what it did outside may be unknown, so its key stays.
-- $1 workflow ids.
SELECT h.workflow_id, h.reference_name, count(*)::smallint AS times
FROM {schema}.task_history h
JOIN {schema}.workflows w ON w.id = h.workflow_id
WHERE h.workflow_id = ANY ($1::uuid[]) AND h.status = 0
    AND EXISTS (
        SELECT FROM jsonb_to_recordset(w.cuts) AS c(epoch smallint, cut bigint, at timestamptz)
        WHERE c.epoch > h.epoch AND (h.seq >= c.cut
                OR (h.ended_at > c.at AND h.queue IN ('JOIN', 'DO_WHILE')))
    )
GROUP BY h.workflow_id, h.reference_name
