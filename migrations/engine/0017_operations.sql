-- What operators did to runs, why, and who they were. Written with what they did, and kept with the run.
CREATE TABLE {schema}.operations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id uuid NOT NULL,
    action text NOT NULL,
    -- The step that it was done to.
    reference_name text,
    operator text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT statement_timestamp()
);
CREATE INDEX operations_workflow ON {schema}.operations (workflow_id);
