-- ended_workflows: which of these runs have ended, or are not there. $1 workflow ids.
SELECT x.id
FROM unnest($1::uuid[]) AS x(id)
LEFT JOIN {schema}.workflows w ON w.id BETWEEN x.id AND x.id
WHERE w.id IS NULL OR w.status > 1
