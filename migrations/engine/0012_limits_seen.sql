-- The number of the limits by which all of an engine goes; null until it has said so.
ALTER TABLE {schema}.sessions ADD COLUMN limits_seen bigint;
