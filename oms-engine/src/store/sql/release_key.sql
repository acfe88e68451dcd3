-- release_key: the idempotency key of an ended run is free for another one. $1 workflow id
UPDATE {schema}.workflows SET key_released = true WHERE id = $1::uuid AND status > 1
