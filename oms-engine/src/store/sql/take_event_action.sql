-- take_event_action: locks the next action to do. The actions of a handler on one event follow
-- each other: one before it that is under way elsewhere is seen as open.
SELECT x.event_id, x.handler, x.action_number, x.action, e.event, e.message_id, e.payload
FROM {schema}.event_executions x
JOIN {schema}.events e ON e.id = x.event_id
WHERE x.status = 0
    AND x.due_at <= statement_timestamp()
    AND NOT EXISTS (
        SELECT FROM {schema}.event_executions b
        WHERE b.event_id = x.event_id AND b.handler = x.handler
            AND b.action_number < x.action_number AND b.status = 0
    )
ORDER BY x.event_id, x.handler, x.action_number
LIMIT 1
FOR UPDATE OF x SKIP LOCKED
