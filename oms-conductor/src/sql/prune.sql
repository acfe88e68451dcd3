-- Removes what was done longer ago than $1 seconds.
DELETE FROM oms_conductor.inbox
WHERE written_at < statement_timestamp() - make_interval(secs => $1)
