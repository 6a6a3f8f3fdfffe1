-- Delete a record; whether it lived. 4 now, 5 key
WITH here AS MATERIALIZED (:durable),
gone AS (
    DELETE FROM clustertoken.record AS r USING here
    WHERE here.same AND r.realm = $1 AND r.key = $5
    RETURNING r.expires_at IS NULL OR r.expires_at > $4::float8 AS lived
)
SELECT :status, coalesce((SELECT lived FROM gone), false) FROM here
