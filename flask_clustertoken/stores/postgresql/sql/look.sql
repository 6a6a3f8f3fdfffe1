-- Whether the feed has moved: its last number, and nothing else is asked. 1 realm
SELECT seq FROM clustertoken.head WHERE realm = $1
