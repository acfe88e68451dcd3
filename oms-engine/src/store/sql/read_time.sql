-- read_time: the database's time.
SELECT statement_timestamp()
