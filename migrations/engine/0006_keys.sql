-- Idempotency keys that are free again, and versions by time.

-- Whether the idempotency key of an ended run was given to another one since.
ALTER TABLE {schema}.workflows ADD COLUMN key_released boolean NOT NULL DEFAULT false;
DROP INDEX {schema}.workflows_idempotency;
CREATE UNIQUE INDEX workflows_idempotency ON {schema}.workflows (name, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND NOT key_released;

CREATE INDEX workflow_definitions_name ON {schema}.workflow_definitions (name, version);
