-- search_tasks: attempts that fit, ended and open, in the order that is asked for, from one place
-- on. Planned anew each time, as search_workflows.
-- $1 run ids, $2 to $5 of tasks (run, reference name, epoch, attempt), $6 types, $7 a type as LIKE
-- has it, $8 statuses, $9 names of runs, $10 their correlation ids, $11 their parents, $12 and $13
-- scheduled from and before, $14 and $15 started from and before, $16 and $17 ended from and
-- before, $18 and $19 changed from and before, $20 words as LIKE has them that all occur (each
-- null = any), $21 sort by, with a minus for the last first, $22 how many are counted, $23 how many
-- are passed over, $24 how many are shown, $25 the latest of all the times from which, since what
-- has ended did so after all else of it, $26 what words are not looked for in, as search_workflows
-- has it. Out: how many fit (counted up to $22), and the attempts;
-- one row of nulls without any.
WITH attempts AS (
    SELECT h.workflow_id, h.reference_name, h.epoch, h.attempt, h.seq, h.status, h.queue AS type,
        h.scheduled_at, h.started_at, h.ended_at, h.ended_at AS changed_at, h.input, h.output,
        h.worker, h.reason, true AS ended, h.queue
    FROM {schema}.task_history h
    WHERE ($25::timestamptz IS NULL OR h.ended_at >= $25::timestamptz)
        AND ($8::smallint[] IS NULL OR $8::smallint[] && '{0, 1, 2, 3, 4, 5, 6}'::smallint[])
    UNION ALL
    SELECT t.workflow_id, t.reference_name, t.epoch, t.attempt, t.seq,
        CASE
            WHEN t.state = 1 OR t.task_type IN ('WAIT', 'HUMAN', 'JOIN', 'DO_WHILE')
                OR t.task_type = t.queue
                OR CASE t.task_type WHEN 'EVENT' THEN t.output IS NOT NULL
                    ELSE t.task_type IS NOT NULL AND t.remaining IS NOT NULL END
            THEN -2
            ELSE -1
        END::smallint,
        coalesce(t.task_type, t.queue), t.scheduled_at, t.started_at, NULL,
        coalesce(t.started_at, t.scheduled_at), t.input, t.output, t.worker, t.reason, false, t.queue
    FROM {schema}.open_tasks t
    WHERE t.reference_name <> ''
        AND ($8::smallint[] IS NULL OR $8::smallint[] && '{-1, -2}'::smallint[])
),
found AS MATERIALIZED (
    SELECT a.workflow_id, a.reference_name, a.epoch, a.attempt,
        row_number() OVER (
            ORDER BY
                CASE WHEN $21::text = 'scheduledTime' THEN a.seq END,
                CASE WHEN $21::text = '-scheduledTime' THEN a.seq END DESC,
                CASE WHEN $21::text = 'startTime' THEN a.started_at END,
                CASE WHEN $21::text = '-startTime' THEN a.started_at END DESC NULLS LAST,
                CASE WHEN $21::text = 'endTime' THEN a.ended_at END,
                CASE WHEN $21::text = '-endTime' THEN a.ended_at END DESC NULLS LAST,
                CASE WHEN $21::text = 'updateTime' THEN a.changed_at END,
                CASE WHEN $21::text = '-updateTime' THEN a.changed_at END DESC,
                CASE WHEN $21::text = 'taskType' THEN a.type END,
                CASE WHEN $21::text = '-taskType' THEN a.type END DESC,
                CASE WHEN NOT $21::text LIKE '-%' THEN a.seq END,
                CASE WHEN $21::text LIKE '-%' THEN a.seq END DESC,
                a.workflow_id, a.attempt
        ) AS place
    FROM attempts a
    JOIN {schema}.workflows w ON w.id = a.workflow_id
    WHERE ($1::uuid[] IS NULL OR a.workflow_id = ANY ($1::uuid[]))
        AND ($2::uuid[] IS NULL OR (
            a.workflow_id = ANY ($2::uuid[])
            AND (a.workflow_id, a.reference_name, a.epoch, a.attempt)
                IN (SELECT * FROM unnest($2::uuid[], $3::text[], $4::smallint[], $5::smallint[]))
        ))
        -- In a domain too.
        AND ($6::text[] IS NULL OR a.type = ANY ($6::text[])
            OR substr(a.type, strpos(a.type, ':') + 1) = ANY ($6::text[]))
        AND ($7::text IS NULL OR a.type LIKE $7::text
            OR substr(a.type, strpos(a.type, ':') + 1) LIKE $7::text)
        AND ($8::smallint[] IS NULL OR a.status = ANY ($8::smallint[]))
        AND ($9::text[] IS NULL OR w.name COLLATE "C" = ANY ($9::text[]))
        -- Few runs, of which each is looked up: by a join all of history is read.
        AND (($10::text[] IS NULL AND $11::uuid[] IS NULL) OR a.workflow_id = ANY (ARRAY(
            SELECT r.id
            FROM {schema}.workflows r
            WHERE ($10::text[] IS NULL OR r.correlation_id = ANY ($10::text[]))
                AND ($11::uuid[] IS NULL OR r.parent_id = ANY ($11::uuid[]))
        )))
        AND ($12::timestamptz IS NULL OR a.scheduled_at >= $12::timestamptz)
        AND ($13::timestamptz IS NULL OR a.scheduled_at < $13::timestamptz)
        AND ($14::timestamptz IS NULL OR a.started_at >= $14::timestamptz)
        AND ($15::timestamptz IS NULL OR a.started_at < $15::timestamptz)
        AND ($16::timestamptz IS NULL OR a.ended_at >= $16::timestamptz)
        AND ($17::timestamptz IS NULL OR a.ended_at < $17::timestamptz)
        AND ($18::timestamptz IS NULL OR a.changed_at >= $18::timestamptz)
        AND ($19::timestamptz IS NULL OR a.changed_at < $19::timestamptz)
        AND ($20::text[] IS NULL OR lower(concat_ws(
            ' ', a.workflow_id, w.name, w.correlation_id, a.reference_name, a.type, a.worker,
            a.reason,
            coalesce(regexp_replace(a.input::text, $26::text, '\1', 'g'), a.input::text),
            coalesce(regexp_replace(a.output::text, $26::text, '\1', 'g'), a.output::text)
        )) LIKE ALL (ARRAY(SELECT lower(word) FROM unnest($20::text[]) AS word)))
        AND (NOT a.ended OR w.cuts IS NULL OR NOT {schema}.is_cut_off(
            w.cuts, a.workflow_id, a.epoch, a.seq, a.queue, a.ended_at
        ))
    ORDER BY place
    LIMIT $22::bigint
)
SELECT (SELECT count(*) FROM found) AS hits, f.workflow_id, f.reference_name, f.epoch, f.attempt
FROM (SELECT) AS one
LEFT JOIN found f ON f.place > $23::bigint AND f.place <= $23::bigint + $24::bigint
ORDER BY f.place
