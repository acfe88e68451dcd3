-- cancel_tokens: takes all tokens of a run, all of them locked; tasks leave CANCELED history.
-- $1 workflow id; $2 references and $3 inputs of those whose token has none, $4 reason for the runs that its tasks had started. Out: how many of those there are.
WITH d AS (
    DELETE FROM {schema}.open_tasks WHERE workflow_id = $1::uuid RETURNING *
),
f AS (
    INSERT INTO {schema}.task_history (
        workflow_id, reference_name, epoch, attempt, status, seq, queue, poll_count, input, output,
        worker, reason, scheduled_at, started_at
    )
    SELECT d.workflow_id, d.reference_name, d.epoch, d.attempt, 6, d.seq,
        coalesce(d.task_type, d.queue), d.poll_count,
        coalesce(d.input, x.input), d.output, d.worker, d.reason,
        d.scheduled_at, d.started_at
    FROM d
    LEFT JOIN unnest($2::text[], $3::jsonb[]) AS x(reference_name, input) USING (reference_name)
    WHERE d.reference_name <> ''
),
-- What a task of it had started ends with it: a token for whichever engine takes it.
k AS (
    INSERT INTO {schema}.open_tasks (workflow_id, reference_name, epoch, queue, state, priority, input)
    SELECT w.id, '', w.epoch, '$system', 0, w.priority,
        jsonb_build_object('control', 'terminate', 'reason', $4::text)
    FROM {schema}.workflows w
    JOIN d ON d.id = w.parent_token
    WHERE w.parent_id = $1::uuid AND w.status IN (0, 1)
    RETURNING id
)
SELECT count(*) FROM k
