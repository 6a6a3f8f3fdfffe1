-- Which process serves us; and where it is the one that greeted us, it is to notice a cut line,
-- instead of holding what it has locked for hours; and to plan each statement once, as what it is:
-- a way by keys, however small or large our tables were at that moment.
-- 1 the process that greeted us
SELECT pg_backend_pid()::bigint,
       CASE WHEN pg_backend_pid()::text = $1 THEN
           set_config('tcp_keepalives_idle', '10', false)
           || set_config('tcp_keepalives_interval', '5', false)
           || set_config('tcp_keepalives_count', '3', false)
           || set_config('plan_cache_mode', 'force_generic_plan', false)
           || set_config('enable_seqscan', 'off', false)
           || set_config('enable_hashjoin', 'off', false)
           || set_config('enable_mergejoin', 'off', false)
           || CASE WHEN current_setting('server_version_num')::integer >= 140000
                   THEN set_config('client_connection_check_interval', '2s', false) ELSE '' END
       END
