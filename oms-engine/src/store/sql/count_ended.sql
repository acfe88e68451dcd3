-- count_ended: by queue: how many rows of the history ended within so many ms, of which so many are
-- read, and how many attempts of these a worker had. $1 ms, $2 the most.
SELECT queue, count(*) AS read, count(*) FILTER (WHERE poll_count > 0) AS ended
FROM (
    SELECT queue, poll_count FROM {schema}.task_history
    WHERE ended_at > statement_timestamp() - $1::bigint * interval '1 ms'
    LIMIT $2::bigint
) AS lately
GROUP BY queue
