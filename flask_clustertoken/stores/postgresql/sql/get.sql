-- Records, and whether a standby has to acknowledge what is written here. 4 keys
WITH here AS MATERIALIZED (:here)
SELECT :status, current_setting('synchronous_standby_names') <> '', r.key, r.value, r.expires_at
FROM here LEFT JOIN clustertoken.record AS r
    ON here.same AND r.realm = $1 AND r.key = ANY ($4::text[])
