-- Take the records that a transaction is about, in one order for all. 1 realm, 2 keys
SELECT r.key FROM (
    SELECT k.key COLLATE "C" AS key FROM unnest($2::text[]) AS k (key) ORDER BY 1
) AS k, LATERAL (
    SELECT found.key FROM clustertoken.record AS found
    WHERE found.realm = $1 AND found.key = k.key FOR UPDATE
) AS r
