-- Task domains: which tasks of a run go to which workers, and which workers there are.

ALTER TABLE {schema}.workflows
    -- {"task type or *": "domain, domain, …"}; null for none.
    ADD COLUMN task_to_domain jsonb;

-- When a worker of a domain last asked for work. Kept for a while; engines write theirs with their
-- heartbeats.
CREATE TABLE {schema}.worker_polls (
    task_type text NOT NULL,
    domain text NOT NULL,
    polled_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (task_type, domain)
) WITH (fillfactor = 50);
