-- close_session: an orderly end. $1 session id. Its leases were given back before.
UPDATE {schema}.sessions SET dead_at = statement_timestamp() WHERE id = $1::bigint
