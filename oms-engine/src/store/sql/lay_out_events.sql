-- lay_out_events: what handlers do about events that are locked. $1 ids of the events, which are
-- pending no longer; $2..$6 of each action: the event's id, handler, number, action (null = the
-- handler is skipped), status; $7 output
WITH e AS (
    UPDATE {schema}.events SET pending = false WHERE id = ANY ($1::bigint[])
)
INSERT INTO {schema}.event_executions (
    event_id, handler, action_number, action, status, output, ended_at
)
SELECT event_id, handler, action_number, action, status, output,
    CASE WHEN status > 0 THEN statement_timestamp() END
FROM unnest($2::bigint[], $3::text[], $4::smallint[], $5::jsonb[], $6::smallint[], $7::jsonb[])
    AS x(event_id, handler, action_number, action, status, output)
