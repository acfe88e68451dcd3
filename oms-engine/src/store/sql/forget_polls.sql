-- forget_polls: domains that nobody serves any more.
DELETE FROM {schema}.worker_polls WHERE polled_at < statement_timestamp() - interval '1 day'
