-- wait_for_child: the token of a sub-workflow's task waits for a run. $1 token id (locked), $2 the
-- run, $3 the version that was started (null = none was)
UPDATE {schema}.open_tasks
SET state = 3, remaining = 1, holder = NULL,
    input = CASE WHEN $3::int IS NULL THEN input
        ELSE jsonb_set(input, '{subWorkflowVersion}', to_jsonb($3::int)) END,
    output = jsonb_build_object('subWorkflowId', $2::uuid),
    due_at = least(
        coalesce(started_at, statement_timestamp()) + timeout_ms * interval '1 millisecond',
        expires_at
    )
WHERE id = $1::bigint
