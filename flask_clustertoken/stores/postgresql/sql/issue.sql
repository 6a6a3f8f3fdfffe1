-- One record is added where nothing lives under its key: a login, an API token. One statement:
-- it takes two thirds of the time that `append` does. Head and realm are taken by `here`, in that
-- order, and told as they are once they are ours; so is a record that has to live.
-- 4 now, 5 the step's id, 6 head that must stand ('': any), 7 its entry ('': any)
-- 8 key that must live ('': none) · 9 key to add, 10 its end ('': none), 11 its value
WITH here AS MATERIALIZED (:durable FOR NO KEY UPDATE OF h FOR SHARE OF r),
judged AS MATERIALIZED (
    SELECT CASE
        WHEN NOT here.same THEN 'history'
        WHEN here.state = 'sealed' THEN 'sealed'
        WHEN $6 <> '' AND ($6 <> here.seq::text OR ($7 <> '' AND $7 <> here.entry)) THEN 'moved'
        ELSE 'ok' END AS status, here.moved_to
    FROM here
),
held AS MATERIALIZED (
    SELECT r.key FROM clustertoken.record AS r
    WHERE r.realm = $1 AND r.key = $8 AND (r.expires_at IS NULL OR r.expires_at > $4::float8)
      AND (SELECT status FROM judged) = 'ok'
    FOR KEY SHARE OF r
),
written AS (
    INSERT INTO clustertoken.record AS r (realm, key, expires_at, value)
    SELECT $1, $9, nullif($10, '')::float8, $11
    FROM judged WHERE judged.status = 'ok' AND ($8 = '' OR EXISTS (SELECT FROM held))
    ON CONFLICT (realm, key) DO UPDATE
    SET value = excluded.value, expires_at = excluded.expires_at
    WHERE r.expires_at <= $4::float8
    RETURNING r.key
),
-- (By it a step is known whose answer was lost.)
noted AS (
    INSERT INTO clustertoken.done (realm, id, made_at)
    SELECT $1, $5, clock_timestamp() FROM written
),
forgotten AS (
    DELETE FROM clustertoken.done AS d USING written
    WHERE d.ctid = ANY (ARRAY(
        SELECT old.ctid FROM clustertoken.done AS old
        WHERE old.realm = $1 AND old.made_at < now() - interval '5 minutes'
        ORDER BY old.made_at LIMIT 4))
)
SELECT CASE WHEN judged.status = 'ok' AND NOT EXISTS (SELECT FROM written) THEN 'conflict'
            ELSE judged.status END,
       CASE judged.status
           WHEN 'sealed' THEN judged.moved_to
           WHEN 'moved' THEN $6
           WHEN 'ok' THEN CASE WHEN $8 <> '' AND NOT EXISTS (SELECT FROM held) THEN $8 ELSE $9 END
           END
FROM judged
