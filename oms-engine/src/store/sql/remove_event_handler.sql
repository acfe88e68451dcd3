-- remove_event_handler: $1 name. Out: a row if there was one.
DELETE FROM {schema}.event_handlers WHERE name = $1::text RETURNING name
