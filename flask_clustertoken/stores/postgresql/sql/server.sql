-- What this server is: its start, whether it is a standby, its encoding and version; and which
-- making of our tables it has.
SELECT :start, pg_is_in_recovery(), current_setting('server_encoding'),
       current_setting('server_version_num')::bigint, to_regclass('clustertoken.realm') IS NOT NULL,
       :making
