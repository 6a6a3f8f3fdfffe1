-- Which of these entries are not in the feed, and the highest number that was ever trimmed.
-- 4 ids
WITH here AS MATERIALIZED (:here)
SELECT :status, here.trimmed, asked.id
FROM here LEFT JOIN unnest($4::text[]) AS asked (id)
    ON here.same AND NOT EXISTS (
        SELECT FROM clustertoken.entry AS e WHERE e.realm = $1 AND e.id = asked.id)
