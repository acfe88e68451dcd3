-- append_logs: lines that workers logged. $1 workflow ids, $2 references, $3 epochs, $4 attempts,
-- $5 lines, $6 how many lines are kept of one attempt
WITH l AS MATERIALIZED (
    SELECT u.*, row_number() OVER (
        PARTITION BY u.workflow_id, u.reference_name, u.epoch, u.attempt ORDER BY u.ord
    ) AS n
    FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::smallint[], $5::text[])
        WITH ORDINALITY AS u(workflow_id, reference_name, epoch, attempt, line, ord)
),
kept AS MATERIALIZED (
    SELECT l.workflow_id, l.reference_name, l.epoch, l.attempt, (
        SELECT count(*)
        FROM {schema}.task_logs k
        WHERE k.workflow_id = l.workflow_id AND k.reference_name = l.reference_name
            AND k.epoch = l.epoch AND k.attempt = l.attempt
    ) AS lines
    FROM l
    WHERE l.n = 1
)
INSERT INTO {schema}.task_logs (workflow_id, reference_name, epoch, attempt, line)
SELECT l.workflow_id, l.reference_name, l.epoch, l.attempt, l.line
FROM l
JOIN kept USING (workflow_id, reference_name, epoch, attempt)
WHERE l.n + kept.lines <= $6::bigint
ORDER BY l.ord
