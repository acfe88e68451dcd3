-- step: ends tasks that are held, appends their history, opens what follows for the same holder,
-- ends runs, and claims ready first tasks, all in one statement.
--
-- $1..$4 ended tasks: token, input, output, the next task (null = the run ends)
-- $5 holder, $6 the first task, $7 how many of these to claim
--
-- Out: tokens that are held now, with their runs; of claimed ones the run's input too.
WITH u AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::jsonb[], $3::jsonb[], $4::text[]) AS u(id, input, output, next)
),
d AS (
    DELETE FROM oms_engine.open_tasks t
    USING u
    WHERE t.id = u.id AND coalesce(t.holder, 0) = $5
    RETURNING t.workflow_id, t.reference_name, t.epoch, t.attempt, t.seq, t.queue, t.poll_count,
        t.scheduled_at, t.started_at, u.input, u.output, u.next
),
f AS (
    INSERT INTO oms_engine.task_history (
        workflow_id, reference_name, epoch, attempt, status, seq, queue, poll_count, input, output,
        worker, scheduled_at, started_at
    )
    SELECT workflow_id, reference_name, epoch, attempt, 0, seq, queue, poll_count, input, output,
        'bare', scheduled_at, started_at
    FROM d
),
s AS (
    INSERT INTO oms_engine.open_tasks (
        workflow_id, reference_name, queue, state, holder, poll_count, started_at
    )
    SELECT workflow_id, next, next, 1, $5, 1, statement_timestamp()
    FROM d
    WHERE next IS NOT NULL
    RETURNING id, workflow_id
),
e AS (
    UPDATE oms_engine.workflows w
    SET status = 2, output = d.output, ended_at = statement_timestamp()
    FROM d
    WHERE d.next IS NULL AND w.id = d.workflow_id AND w.status = 0
),
c AS (
    UPDATE oms_engine.open_tasks t
    SET state = 1, holder = $5, poll_count = t.poll_count + 1, started_at = statement_timestamp()
    WHERE t.id = ANY (ARRAY(
        SELECT id
        FROM oms_engine.open_tasks
        WHERE state = 0 AND queue = $6
        ORDER BY priority DESC, id
        LIMIT $7
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING t.id, t.workflow_id
)
SELECT id, workflow_id, NULL::jsonb AS input FROM s
UNION ALL
SELECT c.id, c.workflow_id, w.input
FROM c JOIN oms_engine.workflows w ON w.id = c.workflow_id
