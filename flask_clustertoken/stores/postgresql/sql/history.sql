-- The history by which each step knows that it is where it was, behind a write. 1 realm
SELECT :start || '/' || epoch, epoch, format::bigint, (:behind)::text
FROM clustertoken.realm WHERE realm = $1
