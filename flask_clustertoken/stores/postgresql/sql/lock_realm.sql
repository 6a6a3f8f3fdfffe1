-- Take the realm's row: nobody prolongs a record meanwhile. 1 realm
SELECT state FROM clustertoken.realm WHERE realm = $1 FOR UPDATE
