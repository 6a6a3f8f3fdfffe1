-- Which history of writes this is: another one after each promotion and on each other cluster.
-- (The timeline from the name of the WAL file: the control file tells of it a minute later.)
SELECT (SELECT system_identifier::text FROM pg_control_system()) || '/'
       || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
