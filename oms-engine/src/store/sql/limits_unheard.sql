-- limits_unheard: the engines that may still go by older limits. $1 the number of the limits.
SELECT name FROM {schema}.sessions
WHERE dead_at IS NULL AND coalesce(limits_seen, -1) < $1::bigint
