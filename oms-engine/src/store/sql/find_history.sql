-- find_history: which attempts have ended. $1 workflow ids, $2 references, $3 epochs, $4 attempts.
SELECT h.workflow_id, h.reference_name, h.epoch, h.attempt, h.status
FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::smallint[])
    AS x(workflow_id, reference_name, epoch, attempt)
CROSS JOIN LATERAL (
    SELECT *
    FROM {schema}.task_history t
    WHERE t.workflow_id = x.workflow_id AND t.reference_name = x.reference_name
        AND t.epoch = x.epoch AND t.attempt = x.attempt
    OFFSET 0
) h
