-- Delete records whose life ended before, some at a time and none that another one holds.
-- 4 before, 5 how many
WITH here AS MATERIALIZED (:durable),
over AS (
    SELECT r.key FROM clustertoken.record AS r
    WHERE r.realm = $1 AND r.expires_at < $4::float8
    ORDER BY r.expires_at LIMIT $5::bigint
    FOR UPDATE SKIP LOCKED
),
gone AS (
    DELETE FROM clustertoken.record AS r USING over, here
    WHERE here.same AND r.realm = $1 AND r.key = over.key
    RETURNING r.key
)
SELECT :status, (SELECT count(*) FROM gone) FROM here
