-- wait_for_child: the token of a sub-workflow's task waits for the run that was started for it.
-- $1 token id (locked), $2 the run
UPDATE {schema}.open_tasks
SET state = 3, remaining = 1, holder = NULL,
    output = jsonb_build_object('subWorkflowId', $2::uuid),
    due_at = least(
        coalesce(started_at, statement_timestamp()) + timeout_ms * interval '1 millisecond',
        expires_at
    )
WHERE id = $1::bigint
