-- adopt_tasks: after an unknown outcome, a pump's new incarnation takes over the leases whose work
-- still runs in its process. Waits for what the old connection may still commit.
-- $1 new holder, $2 old holders, $3 token ids. Out: the ids taken over, with their rev.
UPDATE {schema}.open_tasks
SET holder = $1::bigint
WHERE holder = ANY ($2::bigint[]) AND id = ANY ($3::bigint[])
RETURNING id, rev
