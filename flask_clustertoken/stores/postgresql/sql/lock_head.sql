-- Take the head: who else appends waits here, and sees then what was appended before. 1 realm
SELECT seq FROM clustertoken.head WHERE realm = $1 FOR NO KEY UPDATE
