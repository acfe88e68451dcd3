-- load_runs: what a decision needs of the runs themselves. $1 workflow ids.
SELECT id, definition_id, name, version, status, priority, epoch, input, variables, output, reason,
    correlation_id, idempotency_key, parent_id, failed_task, failure_workflow_id,
    cuts IS NOT NULL AS has_cuts, created_at, ended_at, last_retried_at,
    coalesce(deadline <= statement_timestamp(), false) AS overdue,
    replays, parent_token, resumes,
    cuts->-1->>'from' AS rerun_from, cuts->-1->'input' AS rerun_input, task_to_domain, undo,
    root_id, trace, brought_back_at
FROM {schema}.workflows
WHERE id = ANY ($1::uuid[])
