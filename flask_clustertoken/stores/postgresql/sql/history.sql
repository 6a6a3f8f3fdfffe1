-- The history by which each step knows that it is where it was. 1 realm
SELECT :start, :start || '/' || epoch, epoch, format::bigint FROM clustertoken.realm WHERE realm = $1
