-- Every node's entry.
WITH here AS MATERIALIZED (:durable)
SELECT :status, n.node_id, n.info, n.version, extract(epoch FROM n.changed_at)::float8
FROM here LEFT JOIN clustertoken.node AS n ON here.same AND n.realm = $1
