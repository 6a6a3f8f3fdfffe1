-- The history by which each step knows that it is where it was, behind a write. 1 realm
SELECT :history, epoch, format::bigint, (:behind)::text
FROM clustertoken.realm AS r WHERE realm = $1
