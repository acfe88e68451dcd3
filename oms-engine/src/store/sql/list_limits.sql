-- list_limits: the limits in force, and the number that changes with them; a row without a name
-- where there are none.
SELECT m.limits_version, l.name, l.concurrent
FROM {schema}.meta m
LEFT JOIN {schema}.task_limits l ON true
