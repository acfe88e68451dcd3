-- cancel_tokens: takes all tokens of a run, all of them locked; tasks leave CANCELED history. What
-- relatives told it stays: whoever reads that finds that the run has ended.
-- $1 workflow id; $2 references and $3 inputs of those whose token has none, $4 reason for the runs
-- that its tasks had started; $5 tokens that stay, $6 whether those of tasks that wait for runs stay,
-- too; $7 whether what those runs did is undone. Out: how many of those there are.
WITH d AS (
    DELETE FROM {schema}.open_tasks
    WHERE workflow_id = $1::uuid AND NOT (reference_name = '' AND coalesce(input ? 'control', false))
        AND NOT (id = ANY ($5::bigint[])
            OR ($6::bool AND coalesce(task_type, '') = 'SUB_WORKFLOW' AND remaining IS NOT NULL))
    -- A sub-workflow that was to be gone on with is named before anybody waits for it.
    RETURNING *, coalesce(output, jsonb_build_object('subWorkflowId', detail->'child')) AS gave
),
f AS (
    INSERT INTO {schema}.task_history (
        workflow_id, reference_name, epoch, attempt, status, seq, queue, poll_count, input, output,
        worker, reason, scheduled_at, started_at
    )
    SELECT d.workflow_id, d.reference_name, d.epoch, d.attempt, 6, d.seq,
        coalesce(d.task_type, d.queue), d.poll_count,
        coalesce(d.input, x.input), CASE WHEN d.detail ? 'child' THEN d.gave ELSE d.output END, d.worker, d.reason,
        d.scheduled_at, d.started_at
    FROM d
    LEFT JOIN unnest($2::text[], $3::jsonb[]) AS x(reference_name, input) USING (reference_name)
    WHERE d.reference_name <> ''
),
-- What a task of it waits for ends with it: a token for whichever engine takes it. It is void
-- once another task waits for that run.
k AS (
    INSERT INTO {schema}.open_tasks (workflow_id, reference_name, epoch, queue, state, priority, input)
    SELECT w.id, '', w.epoch, '$system', 0, w.priority,
        jsonb_build_object('control', 'terminate', 'reason', $4::text, 'token', w.parent_token,
            'compensate', $7::bool)
    FROM (
        SELECT (gave->>'subWorkflowId')::uuid AS child FROM d WHERE task_type = 'SUB_WORKFLOW'
    ) d
    JOIN {schema}.workflows w
        ON w.id BETWEEN d.child AND d.child
    WHERE w.parent_id = $1::uuid AND w.status IN (0, 1)
    RETURNING id
)
SELECT count(*) FROM k
