-- terminate_ended: a run that ended badly counts as terminated; its row is locked.
-- $1 workflow id, $2 reason
UPDATE {schema}.workflows
SET status = 5, reason = $2::text, ended_at = statement_timestamp()
WHERE id = $1::uuid AND status IN (3, 4)
