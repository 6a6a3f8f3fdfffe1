-- (Where it is there it is not touched: whoever comes in does not wait for who appends.) 1 realm
INSERT INTO clustertoken.head (realm)
SELECT r.realm FROM clustertoken.realm AS r
WHERE r.realm = $1 AND NOT EXISTS (SELECT FROM clustertoken.head AS h WHERE h.realm = r.realm)
ON CONFLICT DO NOTHING
