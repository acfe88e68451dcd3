-- load_detached: sub-workflows that were brought back after the task that waited for them had
-- ended. $1 ids of parents.
SELECT parent_id, id FROM {schema}.workflows WHERE parent_id = ANY ($1::uuid[]) AND parent_token IS NULL
