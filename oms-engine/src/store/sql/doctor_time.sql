-- doctor_time: the server's time.
SELECT clock_timestamp()
