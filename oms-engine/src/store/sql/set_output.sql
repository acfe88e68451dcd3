-- set_output: what an ended run's output says, written in the transaction of its end.
-- $1 workflow id, $2 output
UPDATE {schema}.workflows SET output = $2::jsonb WHERE id = $1::uuid
