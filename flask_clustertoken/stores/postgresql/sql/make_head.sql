-- 1 realm
INSERT INTO clustertoken.head (realm) SELECT realm FROM clustertoken.realm WHERE realm = $1
ON CONFLICT DO NOTHING
