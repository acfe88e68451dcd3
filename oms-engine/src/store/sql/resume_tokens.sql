-- resume_tokens: clears the mark; parked decide tokens and containers become ready, under new ids.
-- $1 workflow id, all its tokens locked. Out: queues that have ready tokens now.
UPDATE {schema}.open_tasks
SET paused = false,
    rev = rev + 1,
    id = CASE WHEN state = 2 AND due_at IS NULL AND (reference_name = '' OR remaining = 0) THEN nextval('{schema}.token_ids') ELSE id END,
    state = CASE WHEN state = 2 AND due_at IS NULL AND (reference_name = '' OR remaining = 0) THEN 0 ELSE state END
WHERE workflow_id = $1::uuid
RETURNING queue, state
