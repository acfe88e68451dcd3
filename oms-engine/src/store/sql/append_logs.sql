-- append_logs: lines that workers logged. $1 workflow ids, $2 references, $3 epochs, $4 attempts,
-- $5 lines
INSERT INTO {schema}.task_logs (workflow_id, reference_name, epoch, attempt, line)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::smallint[], $5::text[])
