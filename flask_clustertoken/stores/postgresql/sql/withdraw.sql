-- Remove a node's entry, if a version is named only that one. 4 node, 5 version or nothing
WITH here AS MATERIALIZED (:durable),
gone AS (
    DELETE FROM clustertoken.node AS n USING here
    WHERE here.same AND n.realm = $1 AND n.node_id = $4
      AND ($5 = '' OR n.version::text = $5)
    RETURNING n.version
),
-- (No version comes again.)
noted AS (
    UPDATE clustertoken.realm AS r SET withdrawn = greatest(r.withdrawn, gone.version)
    FROM gone WHERE r.realm = $1
)
SELECT :status, EXISTS (SELECT FROM gone) FROM here
