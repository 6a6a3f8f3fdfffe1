-- One entry is appended, and one record at most deleted: a log-out, a mark. One statement, as
-- `issue`: head and realm are told as they are once they are ours, and so is the record.
-- What may have been done before is left to `append`: it is told as known, without a number.
-- 4 now, 5 number at least, 6 head that must stand ('': any), 7 its entry ('': any)
-- 8 key to delete ('': none), 9 'alive' where a record has to live under it
-- 10 the entry's id, 11 its end ('': none), 12 its body · 13 channel
WITH here AS MATERIALIZED (:durable FOR NO KEY UPDATE OF h FOR SHARE OF r),
judged AS MATERIALIZED (
    SELECT CASE
        WHEN NOT here.same THEN 'history'
        WHEN here.state = 'sealed' THEN 'sealed'
        WHEN EXISTS (SELECT FROM clustertoken.entry WHERE realm = $1 AND id = $10) THEN 'known'
        WHEN $6 <> '' AND ($6 <> here.seq::text OR ($7 <> '' AND $7 <> here.entry)) THEN 'moved'
        ELSE 'ok' END AS status,
        greatest(here.seq + 1, $5::bigint) AS seq, here.seq AS head, here.moved_to, here.listened
    FROM here
),
dropped AS (
    DELETE FROM clustertoken.record AS r USING judged
    WHERE judged.status = 'ok' AND r.realm = $1 AND r.key = $8
      AND ($9 = '' OR r.expires_at IS NULL OR r.expires_at > $4::float8)
    RETURNING r.key
),
appended AS (
    INSERT INTO clustertoken.entry (realm, seq, prev, id, keep_until, body, deleted)
    SELECT $1, judged.seq, judged.head, $10, nullif($11, '')::float8, $12,
           CASE WHEN $8 = '' THEN '{}' ELSE ARRAY[$8] END
    FROM judged WHERE judged.status = 'ok' AND ($9 = '' OR EXISTS (SELECT FROM dropped))
    RETURNING seq
),
raised AS (
    UPDATE clustertoken.head AS h SET seq = appended.seq, entry = $10
    FROM appended WHERE h.realm = $1
)
SELECT CASE WHEN judged.status = 'ok' AND NOT EXISTS (SELECT FROM appended) THEN 'conflict'
            ELSE judged.status END,
       CASE judged.status WHEN 'sealed' THEN judged.moved_to
                          WHEN 'moved' THEN $6
                          WHEN 'ok' THEN $8 END,
       (SELECT seq FROM appended),
       CASE WHEN judged.listened AND EXISTS (SELECT FROM appended)
            THEN pg_notify($13, '')::text END
FROM judged
