-- grow_loop: a loop waits for more lineages, or fewer. $1 token id, $2 by how many.
UPDATE {schema}.open_tasks SET remaining = remaining + $2::int WHERE id = $1::bigint
