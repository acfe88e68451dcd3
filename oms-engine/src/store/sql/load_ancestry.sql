-- load_ancestry: how many runs stand above one, and the topmost of its family. $1 workflow id, $2 at
-- how many to stop
WITH RECURSIVE up AS (
    SELECT id, parent_id, root_id, 0 AS above FROM {schema}.workflows WHERE id = $1::uuid
    UNION ALL
    SELECT w.id, w.parent_id, w.root_id, up.above + 1
    FROM up
    JOIN {schema}.workflows w ON w.id BETWEEN up.parent_id AND up.parent_id
    WHERE up.above < $2::int
)
SELECT max(above) AS above, (SELECT root_id FROM up WHERE above = 0) AS root_id FROM up
