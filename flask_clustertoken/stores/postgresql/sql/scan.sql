-- A page of records in the order of their keys. 4 from, 5 not this one, 6 before, 7 how many
WITH here AS MATERIALIZED (:here),
page AS (
    SELECT r.key, r.value, r.expires_at,
           sum(length(r.value)) OVER (ORDER BY r.key) - length(r.value) AS bytes_before
    FROM (
        SELECT key, value, expires_at FROM clustertoken.record
        WHERE realm = $1 AND key >= $4 AND key IS DISTINCT FROM $5 AND key < $6
        ORDER BY key LIMIT $7::bigint
    ) AS r
)
SELECT :status, page.key, page.value, page.expires_at
FROM here LEFT JOIN page ON here.same AND page.bytes_before < 4000000
ORDER BY page.key
