-- find_schemas: those of these names and versions that there are. $1 names, $2 versions.
SELECT s.name, s.version, s.definition
FROM unnest($1::text[], $2::int[]) AS asked (name, version)
JOIN {schema}.schemas s USING (name, version)
