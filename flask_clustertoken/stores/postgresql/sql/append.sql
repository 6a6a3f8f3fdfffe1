-- The transaction: conditions, changes, entries and head; all of it or nothing. The head's row
-- and the records that it is about are locked already, so what is judged here stands still.
-- 4 now, 5 number at least, 6 the transaction's id ('': its entries have one)
-- 7 conditions, 8 their keys · 9 heads that must stand, 10 their entries ('': any)
-- 11 keys to delete · 12 keys to write, 13 their ends, 14 their values (NULL: see ahead)
-- 15 new entries' ids, 16 their ends, 17 their bodies · 18 channel
-- 19 the conditions' values, where one has to be unchanged, or the value's digest
-- (Rows are looked up key by key, each as a query of its own: while the server has not counted a
-- young table's rows, it takes "all of the realm" for the shorter way, and never looks again.)
WITH here AS MATERIALIZED (:durable),
new AS (
    SELECT * FROM unnest($15::text[], $16::float8[], $17::bytea[])
        WITH ORDINALITY AS n (id, keep_until, body, nth)
),
moved AS (
    SELECT m.seq FROM here, unnest($9::bigint[], $10::text[]) AS m (seq, entry)
    WHERE m.seq <> here.seq OR (m.entry <> '' AND m.entry <> here.entry)
    LIMIT 1
),
broken AS (
    SELECT c.key
    FROM unnest($7::text[], $8::text[], $19::bytea[]) WITH ORDINALITY AS c (what, key, value, nth)
    LEFT JOIN LATERAL (
        SELECT found.key, found.value FROM clustertoken.record AS found
        WHERE found.realm = $1 AND found.key = c.key
          AND (found.expires_at IS NULL OR found.expires_at > $4::float8)
        OFFSET 0) AS r ON true
    WHERE CASE c.what WHEN 'unchanged' THEN r.value IS DISTINCT FROM c.value
                      WHEN 'digest' THEN sha256(r.value) IS DISTINCT FROM c.value
                      ELSE (r.key IS NOT NULL) = (c.what = 'add') END
    ORDER BY c.nth LIMIT 1
),
known AS (
    SELECT string_agg(coalesce(e.seq, 0)::text, ',' ORDER BY new.nth) AS seqs
    FROM new LEFT JOIN LATERAL (
        SELECT found.seq FROM clustertoken.entry AS found
        WHERE found.realm = $1 AND found.id = new.id OFFSET 0) AS e ON true
    HAVING bool_or(new.nth = 1 AND e.seq IS NOT NULL)
),
judged AS MATERIALIZED (
    SELECT CASE
        WHEN NOT here.same THEN 'history'
        WHEN here.state = 'sealed' THEN 'sealed'
        WHEN EXISTS (SELECT FROM known) THEN 'known'
        WHEN EXISTS (SELECT FROM clustertoken.done WHERE realm = $1 AND id = $6) THEN 'known'
        WHEN EXISTS (SELECT FROM moved) THEN 'moved'
        WHEN EXISTS (SELECT FROM broken) THEN 'conflict'
        ELSE 'ok' END AS status,
        greatest(here.seq + 1, $5::bigint) AS first, here.seq AS head, here.moved_to, here.listened
    FROM here
),
dropped AS (
    DELETE FROM clustertoken.record AS r USING judged
    WHERE judged.status = 'ok' AND r.ctid = ANY (ARRAY(
        SELECT found.at FROM unnest($11::text[]) AS d (key), LATERAL (
            SELECT one.ctid AS at FROM clustertoken.record AS one
            WHERE one.realm = $1 AND one.key = d.key OFFSET 0) AS found))
),
written AS (
    INSERT INTO clustertoken.record (realm, key, expires_at, value)
    SELECT $1, w.key, w.ends,
           coalesce(w.value, decode(current_setting('clustertoken_ahead.value', true), 'base64'))
    FROM judged, unnest($12::text[], $13::float8[], $14::bytea[]) AS w (key, ends, value)
    WHERE judged.status = 'ok'
    ON CONFLICT (realm, key) DO UPDATE
    SET value = excluded.value, expires_at = excluded.expires_at
),
appended AS (
    INSERT INTO clustertoken.entry (realm, seq, prev, id, keep_until, body, deleted)
    SELECT $1, judged.first + new.nth - 1,
           CASE WHEN new.nth = 1 THEN judged.head ELSE judged.first + new.nth - 2 END,
           new.id, new.keep_until, new.body,
           CASE WHEN new.nth = 1 THEN $11::text[] ELSE '{}' END
    FROM judged, new WHERE judged.status = 'ok'
),
raised AS (
    UPDATE clustertoken.head AS h
    SET seq = judged.first + last.nth - 1, entry = last.id
    FROM judged, (SELECT id, nth FROM new ORDER BY nth DESC LIMIT 1) AS last
    WHERE judged.status = 'ok' AND h.realm = $1
),
-- (Without an entry, whose id would tell, it is noted for longer than any call lasts.)
noted AS (
    INSERT INTO clustertoken.done (realm, id, made_at)
    SELECT $1, $6, clock_timestamp() FROM judged WHERE judged.status = 'ok' AND $6 <> ''
),
forgotten AS (
    DELETE FROM clustertoken.done AS d USING judged
    WHERE judged.status = 'ok' AND d.ctid = ANY (ARRAY(
        SELECT old.ctid FROM clustertoken.done AS old
        WHERE old.realm = $1 AND old.made_at < now() - interval '5 minutes'
        ORDER BY old.made_at LIMIT 4))
)
SELECT judged.status,
       CASE judged.status WHEN 'sealed' THEN judged.moved_to
                          WHEN 'moved' THEN (SELECT seq::text FROM moved)
                          WHEN 'conflict' THEN (SELECT key FROM broken)
                          WHEN 'known' THEN (SELECT seqs FROM known) END,
       judged.first,
       CASE WHEN judged.status = 'ok' AND judged.listened AND EXISTS (SELECT FROM new)
            THEN pg_notify($18, '')::text END
FROM judged
