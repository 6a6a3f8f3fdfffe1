-- The schema's version, and the oldest version of our code that can use it.
SELECT max(version)::bigint, max(needs)::bigint FROM clustertoken.schema_step
