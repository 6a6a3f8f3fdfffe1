-- Entries whose end lies before, in the order of the feed. 4 before, 5 after, 6 how many
WITH here AS MATERIALIZED (:here),
page AS (
    SELECT seq, prev, id, body, keep_until FROM clustertoken.entry
    WHERE realm = $1 AND keep_until < $4::float8 AND seq > $5::bigint
    ORDER BY seq LIMIT $6::bigint
)
SELECT :status, page.seq, page.prev, page.id, page.body, page.keep_until
FROM here LEFT JOIN page ON here.same
ORDER BY page.seq
