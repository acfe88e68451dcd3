-- remove_schedule: with the record of its fires; runs that it started go on. $1 name.
DELETE FROM {schema}.schedules WHERE name = $1::text RETURNING name
