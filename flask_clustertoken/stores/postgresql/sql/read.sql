-- A page of the feed, with the head and the floor of the same moment. 4 after, 5 how many
WITH here AS MATERIALIZED (:durable),
page AS (
    SELECT e.*, count(*) OVER () AS found,
           sum(length(e.body)) OVER (ORDER BY e.seq) - length(e.body) AS bytes_before
    FROM (
        SELECT seq, prev, id, body, keep_until, deleted FROM clustertoken.entry
        WHERE realm = $1 AND seq > $4::bigint
        ORDER BY seq LIMIT $5::bigint + 1
    ) AS e
)
SELECT :status, here.seq, here.floor, coalesce(page.found, 0),
       page.seq, page.prev, page.id, page.body, page.keep_until,
       array_to_json(page.deleted)::text
FROM here LEFT JOIN page ON here.same AND page.bytes_before < 1000000
ORDER BY page.seq
