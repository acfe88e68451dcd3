-- record_fires: appends fires, and forgets those of the same schedules that are too many.
-- $1..$8: execution id, schedule, workflow's name, run, state, reason, zone, when it was due;
-- $9 how many older ones are kept.
WITH f AS (
    INSERT INTO {schema}.schedule_fires
        (execution_id, schedule, workflow_name, workflow_id, state, reason, zone_id, scheduled_at)
    SELECT execution_id, schedule, workflow_name, workflow_id, state, reason, zone_id, scheduled_at
    FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::smallint[], $6::text[], $7::text[],
        $8::timestamptz[]
    ) WITH ORDINALITY AS x(execution_id, schedule, workflow_name, workflow_id, state, reason,
                           zone_id, scheduled_at, ord)
    ORDER BY ord
)
DELETE FROM {schema}.schedule_fires
WHERE id = ANY (ARRAY(
    SELECT old.id
    FROM (SELECT DISTINCT unnest($2::text[]) AS schedule) n
    CROSS JOIN LATERAL (
        SELECT id FROM {schema}.schedule_fires k
        WHERE k.schedule = n.schedule
        ORDER BY k.id DESC
        OFFSET $9::bigint
    ) old
))
