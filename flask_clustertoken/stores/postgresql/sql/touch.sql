-- Prolong a record that lives; never shorten it. 4 now, 5 key, 6 end or nothing
-- (The lock lets a migration seal the realm either before this or behind it. One FOR KEY SHARE
-- would take the row as it was: it lets pass who changes no key.)
WITH here AS MATERIALIZED (:durable FOR SHARE OF r),
touched AS (
    UPDATE clustertoken.record AS r
    SET expires_at = CASE WHEN r.expires_at IS NULL OR $6 = '' THEN NULL
                          ELSE greatest(r.expires_at, $6::float8) END
    FROM here
    WHERE here.same AND here.state <> 'sealed' AND r.realm = $1 AND r.key = $5
      AND (r.expires_at IS NULL OR r.expires_at > $4::float8)
    RETURNING r.key
)
SELECT CASE WHEN NOT here.same THEN 'history' WHEN here.state = 'sealed' THEN 'sealed'
            ELSE 'ok' END,
       here.moved_to, EXISTS (SELECT FROM touched)
FROM here
