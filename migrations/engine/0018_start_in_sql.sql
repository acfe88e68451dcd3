-- Starts from SQL: the run and the token of its beginning are written in the caller's transaction, so
-- that both are there or none is; an engine decides the first step once that has committed.

-- Where an object nests too deep, or a number is too large for an engine to read; null where all is well.
CREATE FUNCTION {schema}.unreadable_input(input jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN jsonb_typeof(input) <> 'object' THEN 'is no JSON object'
        WHEN octet_length(input::text) > 5242880
            THEN 'has ' || octet_length(input::text) || ' bytes of text, at most 5242880'
        WHEN jsonb_path_exists(
            input, 'strict $.**{100 to last} ? (@.type() == "array" || @.type() == "object")'
        ) THEN 'nests deeper than 100 levels'
        WHEN jsonb_path_exists(
            input,
            '$.** ? (@.type() == "number" && (@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308))'
        ) THEN 'has a number beyond 1.8e308'
    END
$$;

-- Starts a workflow. See docs/starting-from-sql.md.
CREATE FUNCTION {schema}.start_workflow(
    name text,
    input jsonb DEFAULT '{}',
    version int DEFAULT NULL,
    correlation_id text DEFAULT NULL,
    idempotency_key text DEFAULT NULL,
    priority int DEFAULT 0
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    own CONSTANT text := (
        SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = '{schema}.workflows'::regclass
    );
    given jsonb := coalesce(nullif(start_workflow.input, 'null'), '{}');
    wrong text;
    def record;
    used record;
    -- A UUIDv7: the time in ms, then chance.
    new_id CONSTANT uuid := encode(set_bit(set_bit(overlay(
        uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6
    ), 52, 1), 53, 1), 'hex')::uuid;
BEGIN
    IF coalesce(start_workflow.name, '') = '' THEN
        RAISE EXCEPTION 'workflow name: is empty' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR wrong IN
        SELECT k.what || CASE WHEN k.key = '' THEN ': is empty'
            ELSE ': has ' || octet_length(k.key) || ' bytes, at most 255' END
        FROM (VALUES
            ('workflow name', start_workflow.name),
            ('correlation id', start_workflow.correlation_id),
            ('idempotency key', start_workflow.idempotency_key)
        ) AS k(what, key)
        WHERE k.key = '' OR octet_length(k.key) > 255
    LOOP
        RAISE EXCEPTION '%', wrong USING ERRCODE = 'invalid_parameter_value';
    END LOOP;
    IF start_workflow.priority IS NULL OR start_workflow.priority NOT BETWEEN 0 AND 99 THEN
        RAISE EXCEPTION 'priority: % is not within 0 to 99', start_workflow.priority
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT d.id, d.version, d.definition INTO def
    FROM {schema}.workflow_definitions d
    WHERE d.name = start_workflow.name AND d.is_current
        AND (d.version = start_workflow.version OR (start_workflow.version IS NULL AND d.is_latest));
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no workflow definition % %', start_workflow.name,
            coalesce('of version ' || start_workflow.version, '')
            USING ERRCODE = 'no_data_found', HINT = 'Register it with an engine or with oms definition.';
    END IF;
    IF jsonb_typeof(def.definition->'inputSchema') = 'object'
        AND def.definition->'enforceSchema' IS DISTINCT FROM 'false' THEN
        RAISE EXCEPTION 'workflow % holds its input to a schema, which SQL cannot check', start_workflow.name
            USING ERRCODE = 'feature_not_supported', HINT = 'Start it by an engine: start_in, or POST /api/workflow.';
    END IF;
    wrong := {schema}.unreadable_input(given);
    IF wrong IS NULL AND given <> '{}' THEN
        given := coalesce(def.definition->'inputTemplate', '{}') || given;
        wrong := {schema}.unreadable_input(given);
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'input of workflow %: %', start_workflow.name, wrong
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOOP
        INSERT INTO {schema}.workflows (
            id, definition_id, name, version, priority, input, variables, correlation_id,
            idempotency_key, deadline
        )
        SELECT new_id, d.id, d.name, d.version, start_workflow.priority, given,
            coalesce(d.definition->'variables', '{}'), start_workflow.correlation_id,
            start_workflow.idempotency_key,
            statement_timestamp()
                + nullif(greatest((d.definition->>'timeoutSeconds')::bigint, 0), 0) * interval '1 second'
        FROM {schema}.workflow_definitions d
        WHERE d.id = def.id
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            EXIT;
        END IF;
        SELECT w.id, w.input = given AS same INTO used
        FROM {schema}.workflows w
        WHERE w.name = start_workflow.name AND w.idempotency_key = start_workflow.idempotency_key
            AND NOT w.key_released;
        IF FOUND AND used.same THEN
            RETURN used.id;
        ELSIF FOUND THEN
            RAISE EXCEPTION 'idempotency key "%" of workflow "%" was used by workflow % with another input',
                start_workflow.idempotency_key, start_workflow.name, used.id
                USING ERRCODE = 'unique_violation';
        END IF;
        -- Whoever had the key is gone since.
    END LOOP;
    INSERT INTO {schema}.open_tasks (workflow_id, reference_name, queue, state, priority, input)
    VALUES (new_id, '', '$system', 0, start_workflow.priority, '{"start": true}');
    PERFORM pg_notify(own || '.ready', '$system');
    IF (def.definition->>'timeoutSeconds')::bigint > 0 THEN
        PERFORM pg_notify(own || '.ready', '$timer');
    END IF;
    RETURN new_id;
END
$$;
REVOKE ALL ON FUNCTION {schema}.start_workflow(text, jsonb, int, text, text, int) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.unreadable_input(jsonb) FROM PUBLIC;
