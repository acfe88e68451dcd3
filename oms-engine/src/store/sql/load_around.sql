-- load_around: the nearest open loop of a name around a token. $1 the container of that token,
-- $2 reference name with turns. Out: its id, and how many lineages it waits for.
WITH RECURSIVE around AS (
    SELECT id, scope, reference_name, remaining
    FROM {schema}.open_tasks
    WHERE id = $1::bigint
    UNION
    SELECT o.id, o.scope, o.reference_name, o.remaining
    FROM {schema}.open_tasks o
    JOIN around ON o.id BETWEEN around.scope AND around.scope
)
SELECT id, remaining FROM around WHERE reference_name = $2::text
