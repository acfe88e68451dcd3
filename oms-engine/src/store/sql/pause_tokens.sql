-- pause_tokens: marks the tokens of a run, all of them locked. $1 workflow id.
UPDATE {schema}.open_tasks SET paused = true, rev = rev + 1 WHERE workflow_id = $1::uuid
