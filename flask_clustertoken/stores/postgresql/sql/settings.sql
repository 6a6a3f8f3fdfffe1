-- How the server is set up, name by name; what it does not know is missing. 1 names, 2 schema
SELECT name, coalesce(current_setting(name, true), '') FROM unnest($1::text[]) AS asked (name)
UNION ALL
SELECT 'standbys', count(*)::text FROM pg_stat_replication
UNION ALL
SELECT 'connected', count(*)::text FROM pg_stat_activity WHERE backend_type = 'client backend'
UNION ALL
SELECT 'encrypted', coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)::text
UNION ALL
SELECT 'dead', coalesce(sum(n_dead_tup), 0)::text FROM pg_stat_user_tables WHERE schemaname = $2
UNION ALL
SELECT 'live', coalesce(sum(n_live_tup), 0)::text FROM pg_stat_user_tables WHERE schemaname = $2
UNION ALL
SELECT 'open_for', coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::bigint::text
FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
