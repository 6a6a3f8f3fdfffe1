-- Delete entries by number; the head's row is locked. 4 numbers
WITH here AS MATERIALIZED (:durable),
gone AS (
    DELETE FROM clustertoken.entry AS e USING here
    WHERE here.same AND e.realm = $1 AND e.seq = ANY ($4::bigint[])
    RETURNING e.seq
),
raised AS (
    UPDATE clustertoken.head AS h
    SET floor = greatest(h.floor, highest.seq), trimmed = greatest(h.trimmed, highest.seq)
    FROM (SELECT max(seq) AS seq FROM gone) AS highest
    WHERE h.realm = $1 AND highest.seq IS NOT NULL
)
SELECT :status FROM here
