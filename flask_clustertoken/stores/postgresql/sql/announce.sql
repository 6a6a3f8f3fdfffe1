-- Write a node's entry, which need not be there. 4 node, 5 what it says
WITH here AS MATERIALIZED (:durable),
written AS (
    INSERT INTO clustertoken.node AS n (realm, node_id, version, changed_at, info)
    SELECT $1, $4, greatest(:micros, here.withdrawn + 1), clock_timestamp(), $5
    FROM here WHERE here.same
    ON CONFLICT (realm, node_id) DO UPDATE
    SET version = greatest(n.version + 1, excluded.version),
        changed_at = excluded.changed_at, info = excluded.info
)
SELECT :status FROM here
