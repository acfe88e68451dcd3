-- The trace that a run belongs to, and each life of it a span there.

ALTER TABLE {schema}.workflows
    -- The headers traceparent and tracestate, of a run that was given them. Null for all others: their
    -- trace follows from their own ids.
    ADD COLUMN trace jsonb,
    -- When it was last brought back after its end.
    ADD COLUMN brought_back_at timestamptz;
