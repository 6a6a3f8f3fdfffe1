-- Another lineage was met, or the feed's end was found lost: nobody vouches for a while. It begins
-- with the first vouch behind this, which is behind the standbys' answer: a primary that was left
-- alone does not let it pass. 1 realm, 2 lineage, 3 whether the end was lost
UPDATE clustertoken.realm SET lineage = $2, since = 'infinity'
WHERE realm = $1 AND (lineage <> $2 OR $3 = 'lost')
