-- explain_run: what a run's row says of where it stands, without its payloads. $1 workflow id.
SELECT definition_id, name, version, status, created_at, ended_at, deadline, reason, failed_task,
    parent_id, undo, statement_timestamp() AS now
FROM {schema}.workflows
WHERE id = $1::uuid
