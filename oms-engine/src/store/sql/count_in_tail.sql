-- count_in_tail: of the history from a block on, by queue: how many rows there are, and of how many
-- a worker had the attempt and it ended within so many ms. $1 the block, $2 ms. What only counts is no
-- condition, so that no index can be gone by in place of the blocks.
SELECT queue, count(*) AS read,
    count(*) FILTER (WHERE poll_count > 0
        AND ended_at > statement_timestamp() - $2::bigint * interval '1 ms') AS ended
FROM {schema}.task_history
WHERE ctid >= format('(%s,0)', $1::bigint)::tid
GROUP BY queue
