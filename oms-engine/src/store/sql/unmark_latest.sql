-- unmark_latest: before mark_latest. $1 name.
UPDATE {schema}.workflow_definitions SET is_latest = false WHERE name = $1::text AND is_latest
