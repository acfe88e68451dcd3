-- The engine's tables. {schema} stands for the schema's quoted name.
--
-- Status of a run: 0 RUNNING, 1 PAUSED, 2 COMPLETED, 3 FAILED, 4 TIMED_OUT, 5 TERMINATED.
-- Status of a task in history: 0 COMPLETED, 1 COMPLETED_WITH_ERRORS, 2 SKIPPED, 3 FAILED,
-- 4 FAILED_WITH_TERMINAL_ERROR, 5 TIMED_OUT, 6 CANCELED.
-- State of an open task: 0 ready, 1 leased, 2 delayed (retry, timer, event, person, parked),
-- 3 container (JOIN, DO_WHILE, SUB_WORKFLOW) that counts down what it waits for.

CREATE SEQUENCE {schema}.token_ids;
-- Drawn one by one (CACHE 1): a run's tasks are listed in this order, whoever scheduled them.
CREATE SEQUENCE {schema}.task_seqs CACHE 1;

CREATE TABLE {schema}.meta (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    min_engine int NOT NULL
);
INSERT INTO {schema}.meta (min_engine) VALUES (1);

-- A row is one immutable text with the task definitions it names. A new text of the same name
-- and version is a new row; runs keep the row they started with. No foreign key points here:
-- its check would lock the one popular row in each start.
CREATE TABLE {schema}.workflow_definitions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    version int NOT NULL CHECK (version > 0),
    definition jsonb NOT NULL,
    task_definitions jsonb NOT NULL,
    is_current boolean NOT NULL DEFAULT true,
    is_latest boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp()
);
CREATE UNIQUE INDEX workflow_definitions_current ON {schema}.workflow_definitions (name, version)
    WHERE is_current;
CREATE UNIQUE INDEX workflow_definitions_latest ON {schema}.workflow_definitions (name)
    WHERE is_latest;

CREATE TABLE {schema}.task_definitions (
    name text PRIMARY KEY,
    definition jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp()
);

CREATE TABLE {schema}.workflows (
    id uuid PRIMARY KEY,
    definition_id bigint NOT NULL,
    name text NOT NULL,
    version int NOT NULL,
    status smallint NOT NULL DEFAULT 0 CHECK (status BETWEEN 0 AND 5),
    priority smallint NOT NULL DEFAULT 0,
    epoch smallint NOT NULL DEFAULT 0,
    closing boolean NOT NULL DEFAULT false,
    -- [{"epoch": k, "cut": seq}, …]: history of an epoch before k is visible below every such cut.
    cuts jsonb,
    input jsonb NOT NULL,
    output jsonb,
    variables jsonb NOT NULL DEFAULT '{}',
    correlation_id text,
    idempotency_key text,
    parent_id uuid,
    parent_token bigint,
    root_id uuid,
    reason text,
    failed_task text,
    failure_workflow_id uuid,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    ended_at timestamptz,
    last_retried_at timestamptz,
    deadline timestamptz
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX workflows_idempotency ON {schema}.workflows (name, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX workflows_parent ON {schema}.workflows (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX workflows_deadline ON {schema}.workflows (deadline)
    WHERE status = 0 AND deadline IS NOT NULL;
CREATE INDEX workflows_correlation ON {schema}.workflows (correlation_id)
    WHERE correlation_id IS NOT NULL;

-- Live work alone. A return to ready takes a new id, so that dead index entries gather at one end.
CREATE TABLE {schema}.open_tasks (
    id bigint PRIMARY KEY DEFAULT nextval('{schema}.token_ids'),
    workflow_id uuid NOT NULL,
    -- Empty for tokens that belong to no task (decide, control).
    reference_name text NOT NULL,
    epoch smallint NOT NULL DEFAULT 0,
    attempt smallint NOT NULL DEFAULT 0,
    seq bigint NOT NULL DEFAULT nextval('{schema}.task_seqs'),
    queue text NOT NULL,
    state smallint NOT NULL CHECK (state BETWEEN 0 AND 3),
    paused boolean NOT NULL DEFAULT false,
    rev int NOT NULL DEFAULT 0,
    priority smallint NOT NULL DEFAULT 0,
    scope bigint,
    remaining int CHECK (remaining >= 0),
    holder bigint,
    -- How often the step had COMPLETED and was set aside: part of the idempotency key.
    set_aside smallint NOT NULL DEFAULT 0,
    poll_count int NOT NULL DEFAULT 0,
    scheduled_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    started_at timestamptz,
    -- When something must happen with it: a delay ends, or a time-out.
    due_at timestamptz,
    -- The end of the time that all attempts of the step have together.
    expires_at timestamptz,
    timeout_ms bigint,
    poll_timeout_ms bigint,
    worker text,
    reason text,
    -- Null where it can be worked out again from the run's input and its own lineage's history.
    input jsonb,
    output jsonb,
    CONSTRAINT open_tasks_holder_while_leased CHECK ((state = 1) = (holder IS NOT NULL))
) WITH (
    fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.2
);
CREATE INDEX open_tasks_claim ON {schema}.open_tasks (queue, priority DESC, id) WHERE state = 0;
CREATE INDEX open_tasks_workflow ON {schema}.open_tasks (workflow_id);
CREATE INDEX open_tasks_due ON {schema}.open_tasks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX open_tasks_holder ON {schema}.open_tasks (holder) WHERE holder IS NOT NULL;

-- One immutable row for every attempt that ended. The key makes an attempt end once.
CREATE TABLE {schema}.task_history (
    workflow_id uuid NOT NULL,
    reference_name text NOT NULL,
    epoch smallint NOT NULL DEFAULT 0,
    attempt smallint NOT NULL,
    status smallint NOT NULL CHECK (status BETWEEN 0 AND 6),
    seq bigint NOT NULL,
    queue text NOT NULL,
    poll_count int NOT NULL,
    input jsonb,
    output jsonb,
    worker text,
    reason text,
    scheduled_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (workflow_id, reference_name, epoch, attempt)
) WITH (fillfactor = 100, autovacuum_vacuum_insert_scale_factor = 0.1);

CREATE TABLE {schema}.task_logs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id uuid NOT NULL,
    reference_name text NOT NULL,
    epoch smallint NOT NULL,
    attempt smallint NOT NULL,
    line text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT statement_timestamp()
);
CREATE INDEX task_logs_workflow ON {schema}.task_logs (workflow_id);

-- One row for each engine process. A dead one stays for a while, so that what its last statement
-- may still commit is found and rescued too.
CREATE TABLE {schema}.sessions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    engine_version int NOT NULL,
    started_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    dead_at timestamptz
) WITH (fillfactor = 50);

-- One row for each incarnation of a pump; its id is what leases are held by, and never reused.
CREATE TABLE {schema}.holders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id bigint NOT NULL REFERENCES {schema}.sessions ON DELETE CASCADE
);
CREATE INDEX holders_session ON {schema}.holders (session_id);

-- Rolls a statement back that met what cannot be.
CREATE FUNCTION {schema}.broken_invariant(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'broken invariant: %', what USING ERRCODE = 'OMS01';
END
$$;

-- Runs that stand still, or tokens that nobody will move. Empty within the recovery bound after
-- any fault.
CREATE VIEW {schema}.stuck_workflows AS
SELECT w.id AS workflow_id, 'no open task'::text AS reason
FROM {schema}.workflows w
WHERE w.status IN (0, 1)
    AND NOT EXISTS (SELECT FROM {schema}.open_tasks t WHERE t.workflow_id = w.id)
UNION ALL
SELECT w.id, 'no open task that can fire'
FROM {schema}.workflows w
WHERE w.status = 0
    AND EXISTS (SELECT FROM {schema}.open_tasks t WHERE t.workflow_id = w.id)
    AND NOT EXISTS (
        SELECT FROM {schema}.open_tasks t
        WHERE t.workflow_id = w.id
            AND (t.state IN (0, 1) OR (t.state = 2 AND (t.due_at IS NOT NULL OR t.reference_name <> '')))
    )
UNION ALL
SELECT t.workflow_id, 'leased to a dead or unknown holder'
FROM {schema}.open_tasks t
LEFT JOIN {schema}.holders h ON h.id = t.holder
LEFT JOIN {schema}.sessions s ON s.id = h.session_id
WHERE t.state = 1
    AND (s.id IS NULL OR s.dead_at IS NOT NULL OR s.heartbeat_at < statement_timestamp() - interval '1 minute')
UNION ALL
SELECT t.workflow_id, 'waits for tasks that are not open'
FROM {schema}.open_tasks t
WHERE t.state = 3 AND NOT EXISTS (SELECT FROM {schema}.open_tasks c WHERE c.scope = t.id)
UNION ALL
SELECT t.workflow_id, 'open task of an ended or missing workflow'
FROM {schema}.open_tasks t
LEFT JOIN {schema}.workflows w ON w.id = t.workflow_id
WHERE w.id IS NULL OR (w.status > 1 AND NOT w.closing);
