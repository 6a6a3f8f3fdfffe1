-- Records, behind a write that the standbys acknowledge. 4 keys
WITH here AS MATERIALIZED (:durable)
SELECT :status, false, r.key, r.value, r.expires_at
FROM here LEFT JOIN LATERAL (
    SELECT found.* FROM unnest($4::text[]) AS k (key), LATERAL (
        SELECT one.key, one.value, one.expires_at FROM clustertoken.record AS one
        WHERE one.realm = $1 AND one.key = k.key OFFSET 0) AS found
) AS r ON here.same
