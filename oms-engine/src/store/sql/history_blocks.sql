-- history_blocks: how many blocks the history has.
SELECT pg_relation_size('{schema}.task_history'::regclass) / current_setting('block_size')::bigint
    AS blocks
