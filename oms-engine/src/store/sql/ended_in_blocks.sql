-- ended_in_blocks: how long ago the rows of these blocks of the history ended, in ms; half of them
-- longer ago. $1 the first block, $2 the one behind the last.
SELECT (extract(epoch FROM statement_timestamp()
        - percentile_disc(0.5) WITHIN GROUP (ORDER BY ended_at)) * 1000)::bigint AS ago_ms
FROM {schema}.task_history
WHERE ctid >= format('(%s,0)', $1::bigint)::tid AND ctid < format('(%s,0)', $2::bigint)::tid
