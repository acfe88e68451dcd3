-- Tasks that workers outside have are leased to the holder -1, whichever engine gave them out. They
-- end by their worker's report, or by a time of theirs: due_at is the earliest of the attempt's
-- time-out and when the worker must have been heard of.

CREATE OR REPLACE VIEW {schema}.stuck_workflows AS
SELECT w.id AS workflow_id, 'no open task'::text AS reason
FROM {schema}.workflows w
WHERE w.status IN (0, 1)
    AND NOT EXISTS (SELECT FROM {schema}.open_tasks t WHERE t.workflow_id = w.id)
UNION ALL
SELECT w.id, 'no open task that can fire'
FROM {schema}.workflows w
WHERE w.status = 0
    AND EXISTS (SELECT FROM {schema}.open_tasks t WHERE t.workflow_id = w.id)
    AND NOT EXISTS (
        SELECT FROM {schema}.open_tasks t
        WHERE t.workflow_id = w.id
            AND (t.state IN (0, 1)
                OR (t.state = 2 AND (t.due_at IS NOT NULL OR t.reference_name <> ''))
                OR (t.state = 3 AND EXISTS (
                    SELECT FROM {schema}.workflows c
                    WHERE c.parent_id = w.id AND c.parent_token = t.id AND c.status IN (0, 1)
                )))
    )
UNION ALL
SELECT t.workflow_id, 'leased to a dead or unknown holder'
FROM {schema}.open_tasks t
LEFT JOIN {schema}.holders h ON h.id = t.holder
LEFT JOIN {schema}.sessions s ON s.id = h.session_id
WHERE t.state = 1 AND t.holder <> -1
    AND (s.id IS NULL OR s.dead_at IS NOT NULL OR s.heartbeat_at < statement_timestamp() - interval '1 minute')
UNION ALL
SELECT t.workflow_id, 'waits for other tasks than are open'
FROM {schema}.open_tasks t
WHERE t.state = 3
    AND t.remaining <> (SELECT count(*) FROM {schema}.open_tasks c WHERE c.scope = t.id)
        + (SELECT count(*) FROM {schema}.workflows c
           WHERE c.parent_id = t.workflow_id AND c.parent_token = t.id AND c.status IN (0, 1))
UNION ALL
SELECT t.workflow_id, 'open task of an ended or missing workflow'
FROM {schema}.open_tasks t
LEFT JOIN {schema}.workflows w ON w.id = t.workflow_id
WHERE w.id IS NULL OR (w.status > 1 AND NOT w.closing AND t.reference_name <> '');
