-- Schemas that definitions name. A definition that names one is registered with its text written
-- out, so that rows here may change and go.

CREATE TABLE {schema}.schemas (
    name text NOT NULL,
    version int NOT NULL,
    definition jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (name, version)
);
