-- load_pulses: for each of these runs a number that is another one when something of it has changed.
-- $1 ids. Out: id, the number; and a row without id whose number is another one when a run was started.
SELECT w.id, hashtextextended(concat_ws(
    ' ', w.status, w.epoch, w.ended_at, w.last_retried_at, w.priority,
    t.count, t.last, t.revs, t.states, t.left_open, t.polls, o.last
), 0) AS pulse
FROM {schema}.workflows w
CROSS JOIN LATERAL (
    SELECT count(*) AS count, max(t.id) AS last, sum(t.rev) AS revs, sum(t.state) AS states,
        sum(t.remaining) AS left_open, sum(t.poll_count) AS polls
    FROM {schema}.open_tasks t
    WHERE t.workflow_id = w.id
) t
CROSS JOIN LATERAL (
    SELECT max(o.id) AS last FROM {schema}.operations o WHERE o.workflow_id = w.id
) o
WHERE w.id = ANY ($1::uuid[])
UNION ALL
SELECT NULL, hashtextextended(newest.id::text, 0)
FROM (SELECT id FROM {schema}.workflows ORDER BY created_at DESC LIMIT 1) newest
