-- Take the records that a transaction is about, in one order for all. 1 realm, 2 keys
SELECT key FROM clustertoken.record WHERE realm = $1 AND key = ANY ($2::text[])
ORDER BY key FOR UPDATE
