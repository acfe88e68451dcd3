-- The application: engines and servers. It may work on every row, and change no table.
GRANT USAGE ON SCHEMA {schema} TO {application};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {application};
REVOKE INSERT, UPDATE, DELETE ON {schema}.migrations FROM {application};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {application};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {application};

-- The reader: people and reports. It sees everything but the keys of clients.
GRANT USAGE ON SCHEMA {schema} TO {reader};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader};
REVOKE SELECT ON {schema}.api_keys, {schema}.api_tokens FROM {reader};

-- What later migrations of the owner make.
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {application};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}
    GRANT USAGE, SELECT ON SEQUENCES TO {application};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}
    GRANT EXECUTE ON FUNCTIONS TO {application};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader};
