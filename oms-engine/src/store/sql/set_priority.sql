-- set_priority: ready tokens get a new id with the new priority, leased ones a new rev.
-- $1 workflow id (tokens and row locked), $2 priority. Out: queues with ready tokens.
WITH w AS (
    UPDATE {schema}.workflows SET priority = $2::smallint WHERE id = $1::uuid
)
UPDATE {schema}.open_tasks
SET priority = $2::smallint,
    rev = rev + 1,
    id = CASE WHEN state = 0 THEN nextval('{schema}.token_ids') ELSE id END
WHERE workflow_id = $1::uuid
RETURNING queue, state
