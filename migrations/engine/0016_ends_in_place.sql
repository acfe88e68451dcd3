-- No index names the status of a run: its end, if it is a good one, then changes no indexed column, and
-- is written in place (a HOT update) without any entry in an index. What needs one has its own column.
-- Rewrites the table.

ALTER TABLE {schema}.workflows
    -- When a running run's time is up; null without a time-out, and for all others.
    ADD COLUMN overdue_at timestamptz
        GENERATED ALWAYS AS (CASE WHEN status = 0 THEN deadline END) STORED,
    -- The status of a run that neither runs nor has completed.
    ADD COLUMN unwell smallint
        GENERATED ALWAYS AS (CASE WHEN status NOT IN (0, 2) THEN status END) STORED;

DROP INDEX {schema}.workflows_deadline;
DROP INDEX {schema}.workflows_not_completed;
CREATE INDEX workflows_overdue ON {schema}.workflows (overdue_at) WHERE overdue_at IS NOT NULL;
CREATE INDEX workflows_unwell ON {schema}.workflows (unwell, created_at) WHERE unwell IS NOT NULL;

-- Room for the ends beside the starts.
ALTER TABLE {schema}.workflows SET (fillfactor = 50);
