-- lock_definitions: one registration at a time; starts are not held up.
LOCK TABLE {schema}.task_definitions IN SHARE ROW EXCLUSIVE MODE
