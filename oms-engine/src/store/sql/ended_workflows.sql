-- ended_workflows: which of these runs have ended. $1 workflow ids.
SELECT id FROM {schema}.workflows WHERE id = ANY ($1::uuid[]) AND status > 1
