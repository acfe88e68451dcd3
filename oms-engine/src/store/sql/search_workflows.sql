-- search_workflows: runs that fit, in the order that is asked for, from one place on. It is planned
-- anew each time, with the parameters, so that what is not asked for costs nothing.
-- $1 ids, $2 names, $3 a name as LIKE has it, $4 correlation ids, $5 one as LIKE has it,
-- $6 parents, $7 versions, $8 statuses, $9 and $10 created from and before, $11 and $12 ended from
-- and before, $13 words as LIKE has them that all occur (each null = any), $14 sort by, with a
-- minus for the last first, $15 how many are counted, $16 how many are passed over, $17 how many
-- are shown, $18 how large an input or output is shown, in bytes as it is stored,
-- $19 whether sub-workflows are left out, $20 whether none of the statuses is that of a completed
-- run, $21 whether one is that of a running one: these have an open task, $22 what words are not
-- looked for in of an input or output, but for its first group (null = none). Out: how many fit
-- (counted up to $15), and the runs; one row of nulls without any.
WITH found AS MATERIALIZED (
    SELECT ARRAY(
        SELECT w.id
        FROM {schema}.workflows w
        WHERE ($1::uuid[] IS NULL OR w.id = ANY ($1::uuid[]))
            AND ($2::text[] IS NULL OR w.name COLLATE "C" = ANY ($2::text[]))
            AND ($3::text IS NULL OR w.name COLLATE "C" LIKE $3::text)
            AND ($4::text[] IS NULL OR w.correlation_id = ANY ($4::text[]))
            AND ($5::text IS NULL OR w.correlation_id LIKE $5::text)
            AND ($6::uuid[] IS NULL OR w.parent_id = ANY ($6::uuid[]))
            AND ($7::int[] IS NULL OR w.version = ANY ($7::int[]))
            AND ($8::smallint[] IS NULL OR w.status = ANY ($8::smallint[]))
            AND (NOT $20::bool OR w.unwell = ANY ($8::smallint[])
                OR ($21::bool AND w.id = ANY (
                    ARRAY(SELECT DISTINCT t.workflow_id FROM {schema}.open_tasks t)
                )))
            AND ($9::timestamptz IS NULL OR w.created_at >= $9::timestamptz)
            AND ($10::timestamptz IS NULL OR w.created_at < $10::timestamptz)
            AND ($11::timestamptz IS NULL OR w.ended_at >= $11::timestamptz)
            AND ($12::timestamptz IS NULL OR w.ended_at < $12::timestamptz)
            AND ($13::text[] IS NULL OR lower(concat_ws(
                ' ', w.id, w.name, w.correlation_id, w.reason,
                coalesce(regexp_replace(w.input::text, $22::text, '\1', 'g'), w.input::text),
                coalesce(regexp_replace(w.output::text, $22::text, '\1', 'g'), w.output::text)
            )) LIKE ALL (ARRAY(SELECT lower(word) FROM unnest($13::text[]) AS word)))
            AND (NOT $19::bool OR w.parent_id IS NULL)
        ORDER BY
            CASE WHEN $14::text = 'startTime' THEN w.created_at END,
            CASE WHEN $14::text = '-startTime' THEN w.created_at END DESC,
            CASE WHEN $14::text = 'endTime' THEN w.ended_at END,
            CASE WHEN $14::text = '-endTime' THEN w.ended_at END DESC NULLS LAST,
            CASE WHEN $14::text = 'workflowType' THEN w.name END,
            CASE WHEN $14::text = '-workflowType' THEN w.name END DESC,
            CASE WHEN $14::text = 'correlationId' THEN w.correlation_id END,
            CASE WHEN $14::text = '-correlationId' THEN w.correlation_id END DESC NULLS LAST,
            -- By the letters of its name.
            CASE WHEN $14::text = 'status' THEN (ARRAY[3, 2, 0, 1, 5, 4])[w.status + 1] END,
            CASE WHEN $14::text = '-status' THEN (ARRAY[3, 2, 0, 1, 5, 4])[w.status + 1] END DESC,
            CASE WHEN NOT $14::text LIKE '-%' THEN w.id END,
            CASE WHEN $14::text LIKE '-%' THEN w.id END DESC
        LIMIT $15::bigint
    ) AS ids
)
SELECT cardinality(found.ids)::bigint AS hits, w.id, w.name, w.version, w.status, w.priority,
    w.correlation_id, w.idempotency_key, w.created_at, w.ended_at, w.reason, w.parent_id,
    CASE WHEN pg_column_size(w.input) <= $18::int THEN w.input END AS input,
    CASE WHEN pg_column_size(w.output) <= $18::int THEN w.output END AS output,
    w.task_to_domain, failed.names
FROM found
LEFT JOIN LATERAL unnest(found.ids[$16::int + 1:$16::int + $17::int])
    WITH ORDINALITY AS page (id, place) ON true
LEFT JOIN {schema}.workflows w ON w.id = page.id
LEFT JOIN LATERAL (
    SELECT array_agg(DISTINCT h.reference_name) AS names
    FROM {schema}.task_history h
    WHERE h.workflow_id = w.id AND h.status IN (3, 4)
        AND (w.cuts IS NULL
            OR NOT {schema}.is_cut_off(w.cuts, h.workflow_id, h.epoch, h.seq, h.queue, h.ended_at))
) failed ON true
ORDER BY page.place
