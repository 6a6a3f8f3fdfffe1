-- Which history of writes this is: another one after each promotion, on each other cluster, and
-- in each making of our tables: where a dump is put back they are made anew.
-- (The timeline from the name of the WAL file: the control file tells of it a minute later.)
SELECT (SELECT system_identifier::text FROM pg_control_system()) || '/'
       || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
       || :making
