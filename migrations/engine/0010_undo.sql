-- What a run did is undone before it ends badly: how it will end, and what could not be undone.
-- Null where nothing was undone.

ALTER TABLE {schema}.workflows ADD COLUMN undo jsonb;
