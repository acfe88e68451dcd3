-- retire_definition: the current row of this name and version is current no longer.
-- $1 name, $2 version
UPDATE {schema}.workflow_definitions SET is_current = false, is_latest = false
WHERE name = $1::text AND version = $2::int AND is_current
