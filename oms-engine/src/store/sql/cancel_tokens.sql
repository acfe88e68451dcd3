-- cancel_tokens: takes all tokens of a run, all of them locked; tasks leave CANCELED history.
-- $1 workflow id, $2 reason; $3 references and $4 inputs of those whose token has none.
-- Out: token ids and holders of what was leased.
WITH d AS (
    DELETE FROM {schema}.open_tasks WHERE workflow_id = $1::uuid RETURNING *
),
f AS (
    INSERT INTO {schema}.task_history (
        workflow_id, reference_name, epoch, attempt, status, seq, queue, poll_count, input, output,
        worker, reason, scheduled_at, started_at
    )
    SELECT d.workflow_id, d.reference_name, d.epoch, d.attempt, 6, d.seq, d.queue, d.poll_count,
        coalesce(d.input, x.input), d.output, d.worker, coalesce($2::text, d.reason),
        d.scheduled_at, d.started_at
    FROM d
    LEFT JOIN unnest($3::text[], $4::jsonb[]) AS x(reference_name, input) USING (reference_name)
    WHERE d.reference_name <> ''
)
SELECT id, holder FROM d WHERE holder IS NOT NULL
