-- pinned_version: the latest version of a definition that was registered when a run was started and
-- still is. $1 name, $2 the run
SELECT max(d.version) AS version
FROM {schema}.workflow_definitions d
JOIN {schema}.workflows w ON w.id = $2::uuid
WHERE d.name = $1::text AND d.created_at <= w.created_at
    AND EXISTS (
        SELECT FROM {schema}.workflow_definitions c
        WHERE c.name = d.name AND c.version = d.version AND c.is_current
    )
