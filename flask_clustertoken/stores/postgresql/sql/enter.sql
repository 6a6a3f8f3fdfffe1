-- The first of all that meets another lineage, or finds the feed's end lost, notes when.
-- 1 realm, 2 lineage, 3 whether the end was lost
UPDATE clustertoken.realm SET lineage = $2, since = clock_timestamp()
WHERE realm = $1 AND (lineage <> $2 OR $3 = 'lost')
