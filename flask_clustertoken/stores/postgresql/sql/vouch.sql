-- Rewrite a node's entry, which must be there, and read the head; all in one statement.
-- 4 node, 5 what it says, 6 seconds for which a new lineage is not vouched for
-- (the time in which whoever knows more than this server can publish it again)
WITH here AS MATERIALIZED (:durable),
mine AS (
    UPDATE clustertoken.node AS n
    SET version = greatest(n.version + 1, :micros), changed_at = clock_timestamp(), info = $5
    FROM here WHERE here.same AND n.realm = $1 AND n.node_id = $4
    RETURNING n.node_id
),
-- (It begins here; or again, where the server's clock was set back, and is no longer than it was.)
begun AS (
    UPDATE clustertoken.realm AS r SET since = clock_timestamp()
    FROM here WHERE here.same AND r.realm = $1 AND r.since > clock_timestamp()
    RETURNING r.realm
),
waits AS (
    SELECT CASE WHEN here.since IS NOT NULL THEN extract(epoch FROM
        least(here.since, clock_timestamp()) + make_interval(secs => $6::float8)
        - clock_timestamp())::float8 END AS seconds
    FROM here
)
SELECT CASE WHEN NOT here.same THEN 'history'
            WHEN NOT EXISTS (SELECT FROM mine) THEN 'absent'
            WHEN waits.seconds > 0 THEN 'settling'
            ELSE 'ok' END,
       here.seq, :micros, waits.seconds
FROM here, waits
