-- set_undo: what a run's row says of undoing. $1 workflow id (its tokens locked), $2 that.
UPDATE {schema}.workflows SET undo = $2::jsonb WHERE id = $1::uuid
