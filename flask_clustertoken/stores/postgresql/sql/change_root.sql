-- Replace the root if it is the one that the caller knows, with an entry in the same step.
-- Head and realm are locked. 4 to 7 old epoch, state, moved_to, format; 8 to 11 the new ones
-- 12 number at least, 13 the entry's id ('': none), 14 its end, 15 its body, 16 channel
WITH here AS MATERIALIZED (:durable),
judged AS MATERIALIZED (
    SELECT here.same AND here.epoch = $4 AND here.state = $5 AND here.moved_to = $6
           AND here.format = $7::integer AS right,
           here.seq AS head, greatest(here.seq + 1, $12::bigint) AS seq, here.listened
    FROM here
),
changed AS (
    UPDATE clustertoken.realm AS r
    SET epoch = $8, state = $9, moved_to = $10, format = $11::integer
    FROM judged WHERE judged.right AND r.realm = $1
),
appended AS (
    INSERT INTO clustertoken.entry (realm, seq, prev, id, keep_until, body)
    SELECT $1, judged.seq, judged.head, $13, ($14::float8[])[1], $15
    FROM judged WHERE judged.right AND $13 <> ''
),
raised AS (
    UPDATE clustertoken.head AS h SET seq = judged.seq, entry = $13
    FROM judged WHERE judged.right AND $13 <> '' AND h.realm = $1
)
SELECT :status, judged.right,
       CASE WHEN judged.right AND judged.listened THEN pg_notify($16, '')::text END
FROM here, judged
