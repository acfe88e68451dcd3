-- What runs and tasks are searched by. None of these holds a task that ended well, so that an
-- ordinary step writes nothing more.

CREATE INDEX workflows_created ON {schema}.workflows (created_at);
-- These two by expressions, so that no other statement is planned to go by them: those have
-- indexes of their own, and ask for a name or a status beside.
CREATE INDEX workflows_name ON {schema}.workflows ((name COLLATE "C"), created_at);
CREATE INDEX workflows_not_completed ON {schema}.workflows ((status::int), created_at)
    WHERE status::int <> 2;

CREATE INDEX task_history_unsuccessful ON {schema}.task_history (status, ended_at)
    WHERE status > 2;
-- History is written in the order of its ends: a summary of each stretch of it is enough.
CREATE INDEX task_history_ended ON {schema}.task_history USING brin (ended_at)
    WITH (pages_per_range = 32, autosummarize = on);
