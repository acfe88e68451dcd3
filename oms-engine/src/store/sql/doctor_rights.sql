-- doctor_rights: what the role of this connection may not do that an engine does. $1 the schema.
-- Out: each in words.
SELECT 'no USAGE on schema ' || n.nspname AS what
FROM pg_namespace n
WHERE n.nspname = $1::text AND NOT has_schema_privilege(n.oid, 'USAGE')
UNION ALL
SELECT 'no ' || string_agg(p.privilege, ', ' ORDER BY p.ord) || ' on ' || n.nspname || '.' || c.relname
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL unnest(CASE
    WHEN c.relkind = 'S' THEN ARRAY['USAGE']
    WHEN c.relkind = 'v' OR c.relname = 'migrations' THEN ARRAY['SELECT']
    ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']
END) WITH ORDINALITY AS p(privilege, ord)
WHERE n.nspname = $1::text AND c.relkind IN ('r', 'p', 'v', 'S')
    AND NOT CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, p.privilege)
        ELSE has_table_privilege(c.oid, p.privilege) END
GROUP BY n.nspname, c.relname
UNION ALL
SELECT 'no EXECUTE on ' || f.oid::regprocedure
FROM pg_proc f
JOIN pg_namespace n ON n.oid = f.pronamespace
WHERE n.nspname = $1::text AND NOT has_function_privilege(f.oid, 'EXECUTE')
ORDER BY what
