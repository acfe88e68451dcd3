-- mark_latest: the highest current version of a name is its latest. $1 name. Two steps in one
-- statement would meet the unique index half-way, so unmark_latest comes first.
UPDATE {schema}.workflow_definitions SET is_latest = true
WHERE id = (
    SELECT id FROM {schema}.workflow_definitions
    WHERE name = $1::text AND is_current
    ORDER BY version DESC
    LIMIT 1
)
