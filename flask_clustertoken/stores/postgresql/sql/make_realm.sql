-- 1 realm, 2 epoch, 3 format, 4 lineage
INSERT INTO clustertoken.realm (realm, epoch, format, lineage)
SELECT $1, $2, $3::integer, $4
WHERE NOT EXISTS (SELECT FROM clustertoken.realm WHERE realm = $1)
ON CONFLICT DO NOTHING
