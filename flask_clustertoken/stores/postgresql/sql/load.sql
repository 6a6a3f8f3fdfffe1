-- Write what another store held, while this one is being prepared. The head is locked.
-- 4 now, 5 head, 6 floor, 7 key that must hold ('': none), 8 its value
-- 9 records' keys, 10 their ends, 11 their values
-- 12 entries' numbers, 13 the numbers before, 14 ids, 15 ends, 16 bodies
WITH here AS MATERIALIZED (:durable),
judged AS MATERIALIZED (
    SELECT CASE
        WHEN NOT here.same THEN 'history'
        WHEN here.state <> 'preparing' THEN 'not preparing'
        WHEN $7 <> '' AND NOT EXISTS (
            SELECT FROM clustertoken.record AS r
            WHERE r.realm = $1 AND r.key = $7 AND r.value = $8
              AND (r.expires_at IS NULL OR r.expires_at > $4::float8)) THEN 'conflict'
        ELSE 'ok' END AS status
    FROM here
),
written AS (
    INSERT INTO clustertoken.record (realm, key, expires_at, value)
    SELECT $1, w.key, w.ends, w.value
    FROM judged, unnest($9::text[], $10::float8[], $11::bytea[]) AS w (key, ends, value)
    WHERE judged.status = 'ok'
    ON CONFLICT (realm, key) DO UPDATE
    SET value = excluded.value, expires_at = excluded.expires_at
),
entries AS (
    SELECT * FROM unnest($12::bigint[], $13::bigint[], $14::text[], $15::float8[], $16::bytea[])
        AS e (seq, prev, id, keep_until, body)
),
appended AS (
    INSERT INTO clustertoken.entry (realm, seq, prev, id, keep_until, body)
    SELECT $1, e.seq, e.prev, e.id, e.keep_until, e.body
    FROM judged, entries AS e WHERE judged.status = 'ok'
    ON CONFLICT DO NOTHING
),
raised AS (
    UPDATE clustertoken.head AS h
    SET seq = greatest(h.seq, $5::bigint, last.seq), floor = greatest(h.floor, $6::bigint),
        entry = CASE WHEN last.seq >= greatest(h.seq, $5::bigint) THEN last.id
                     WHEN h.seq >= $5::bigint THEN h.entry END
    FROM judged LEFT JOIN (SELECT seq, id FROM entries ORDER BY seq DESC LIMIT 1) AS last ON true
    WHERE judged.status = 'ok' AND h.realm = $1
)
SELECT judged.status, $7 FROM judged
