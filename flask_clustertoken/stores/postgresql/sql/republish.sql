-- Put back an entry that this history lacks, under the number that it had, with the deletions
-- that belonged to it; then move head and floor on by one, so that whoever reads the feed,
-- wherever it stands, begins anew and meets it. The head is locked.
-- 4 number, 5 the number before, 6 id, 7 end, 8 body, 9 keys that were deleted, 10 channel
WITH here AS MATERIALIZED (:durable),
-- (Another entry may have the number: clocks that ran ahead. A later one covers more.)
place AS MATERIALIZED (
    SELECT s.seq, coalesce((
        SELECT max(e.seq) FROM clustertoken.entry AS e WHERE e.realm = $1 AND e.seq < s.seq), 0
    ) AS nearest
    FROM here, generate_series($4::bigint, $4::bigint + 10000) AS s (seq)
    WHERE here.same
      AND NOT EXISTS (SELECT FROM clustertoken.entry AS e WHERE e.realm = $1 AND e.id = $6)
      AND NOT EXISTS (SELECT FROM clustertoken.entry AS e WHERE e.realm = $1 AND e.seq = s.seq)
    ORDER BY s.seq LIMIT 1
),
put AS (
    INSERT INTO clustertoken.entry (realm, seq, prev, id, keep_until, body, deleted)
    SELECT $1, place.seq,
           CASE WHEN $5::bigint >= place.nearest AND $5::bigint < place.seq
                THEN $5::bigint ELSE place.nearest END,
           $6, ($7::float8[])[1], $8, $9::text[]
    FROM place
),
mended AS (
    UPDATE clustertoken.entry AS e SET prev = place.seq
    FROM place
    WHERE e.realm = $1 AND e.prev < place.seq AND e.seq = (
        SELECT min(f.seq) FROM clustertoken.entry AS f
        WHERE f.realm = $1 AND f.seq > place.seq)
),
dropped AS (
    DELETE FROM clustertoken.record AS r USING place
    WHERE r.realm = $1 AND r.key = ANY ($9::text[])
),
raised AS (
    UPDATE clustertoken.head AS h
    SET seq = greatest(h.seq, place.seq) + 1, floor = greatest(h.seq, place.seq) + 1, entry = NULL
    FROM place WHERE h.realm = $1
)
SELECT :status,
       CASE WHEN here.listened AND EXISTS (SELECT FROM place)
            THEN pg_notify($10, '')::text END
FROM here
