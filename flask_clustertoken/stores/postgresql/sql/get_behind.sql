-- Records, behind a write that the standbys acknowledge. 4 keys
WITH here AS MATERIALIZED (:durable)
SELECT :status, false, r.key, r.value, r.expires_at
FROM here LEFT JOIN clustertoken.record AS r
    ON here.same AND r.realm = $1 AND r.key = ANY ($4::text[])
