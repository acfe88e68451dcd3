-- open_session: an engine process begins. $1 name, $2 engine version.
INSERT INTO {schema}.sessions (name, engine_version) VALUES ($1::text, $2::int) RETURNING id
