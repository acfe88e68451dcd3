-- Takes a step for this transaction. No row: its effect is committed already. Whoever else has taken it is
-- waited for.
-- $1 idempotency key, $2 task name
INSERT INTO oms_conductor.inbox (idempotency_key, task_name)
VALUES ($1, $2)
ON CONFLICT (idempotency_key) DO NOTHING
RETURNING true
