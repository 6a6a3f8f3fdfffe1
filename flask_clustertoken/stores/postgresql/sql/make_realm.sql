-- 1 realm, 2 epoch, 3 format, 4 lineage
INSERT INTO clustertoken.realm (realm, epoch, format, lineage) VALUES ($1, $2, $3::integer, $4)
ON CONFLICT DO NOTHING
