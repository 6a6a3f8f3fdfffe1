-- What Flask-ClusterToken keeps in PostgreSQL: seven tables, keyed by realm. No trigger, no function.
-- "clustertoken" stands for the schema, which the option `schema` names.

CREATE TABLE clustertoken.schema_step (
    version  integer PRIMARY KEY,
    needs    integer NOT NULL,
    made_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE clustertoken.schema_step IS 'The steps in which this schema was made. Code that knows version "needs" can use it.';

CREATE TABLE clustertoken.realm (
    realm      text PRIMARY KEY,
    epoch      text NOT NULL CHECK (epoch <> ''),
    state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'preparing', 'sealed')),
    moved_to   text NOT NULL DEFAULT '',
    format     integer NOT NULL CHECK (format > 0),
    lineage    text NOT NULL,
    since      timestamptz,
    withdrawn  bigint NOT NULL DEFAULT 0,
    listened   boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE clustertoken.realm IS 'What is said once about a realm: one login for all apps that name it.';
COMMENT ON COLUMN clustertoken.realm.epoch IS 'Random, made with the realm. A token of another epoch is refused.';
COMMENT ON COLUMN clustertoken.realm.state IS 'open; preparing: filled by a migration; sealed: moved to moved_to.';
COMMENT ON COLUMN clustertoken.realm.format IS 'The number of the layout of records and entries.';
COMMENT ON COLUMN clustertoken.realm.lineage IS 'The server that wrote here last: system identifier, timeline, and the tables'' own number.';
COMMENT ON COLUMN clustertoken.realm.since IS 'When another lineage was met. For some seconds behind it no node vouches.';
COMMENT ON COLUMN clustertoken.realm.withdrawn IS 'The highest version of a node that left: none comes again.';
COMMENT ON COLUMN clustertoken.realm.listened IS 'Some node listens: an append notifies.';

CREATE TABLE clustertoken.head (
    realm    text PRIMARY KEY REFERENCES clustertoken.realm ON DELETE CASCADE,
    seq      bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
    entry    text,
    floor    bigint NOT NULL DEFAULT 0,
    trimmed  bigint NOT NULL DEFAULT 0,
    CHECK (trimmed <= floor AND floor <= seq)
) WITH (fillfactor = 20);
COMMENT ON TABLE clustertoken.head IS 'The end of each feed. Every append takes this row first, so the order of commits is the order of numbers.';
COMMENT ON COLUMN clustertoken.head.seq IS 'The last number: microseconds since 1970, or one more than the number before.';
COMMENT ON COLUMN clustertoken.head.entry IS 'The id of the entry that has this number, or had it.';
COMMENT ON COLUMN clustertoken.head.floor IS 'Who read up to a number below this one has missed something and reads all again.';
COMMENT ON COLUMN clustertoken.head.trimmed IS 'The highest number that was ever trimmed.';

CREATE TABLE clustertoken.entry (
    realm       text NOT NULL REFERENCES clustertoken.head ON DELETE CASCADE,
    seq         bigint NOT NULL CHECK (seq > 0),
    prev        bigint NOT NULL CHECK (prev >= 0 AND prev < seq),
    id          text NOT NULL CHECK (id ~ '^[A-Za-z0-9_-]{1,64}$'),
    body        bytea NOT NULL,
    keep_until  double precision,
    deleted     text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (realm, seq),
    UNIQUE (realm, id)
);
CREATE INDEX entry_ends ON clustertoken.entry (realm, keep_until) WHERE keep_until IS NOT NULL;
COMMENT ON TABLE clustertoken.entry IS 'The feed: revocations, and what else every node has to know, in order.';
COMMENT ON COLUMN clustertoken.entry.prev IS 'The number before: by it a reader sees that it missed nothing.';
COMMENT ON COLUMN clustertoken.entry.id IS 'Chosen by the writer: an append that is sent again is known by it.';
COMMENT ON COLUMN clustertoken.entry.body IS 'JSON in UTF-8. It names ids and subjects by digests only.';
COMMENT ON COLUMN clustertoken.entry.keep_until IS 'Seconds since 1970; NULL: until it is trimmed by number.';
COMMENT ON COLUMN clustertoken.entry.deleted IS 'Keys of the records that were deleted in the same step.';

CREATE TABLE clustertoken.record (
    realm       text NOT NULL REFERENCES clustertoken.realm ON DELETE CASCADE,
    key         text COLLATE "C" NOT NULL,
    value       bytea NOT NULL,
    expires_at  double precision,
    PRIMARY KEY (realm, key)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX record_ends ON clustertoken.record (realm, expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE clustertoken.record IS 'Tokens, and what servers share: bytes under a key. No token and no secret stands here.';
COMMENT ON COLUMN clustertoken.record.key IS 'token/…: a token, by the digests of its subject and id; data/…: shared values.';
COMMENT ON COLUMN clustertoken.record.value IS 'JSON in UTF-8 where it is a token.';
COMMENT ON COLUMN clustertoken.record.expires_at IS 'Seconds since 1970, by the clocks of the nodes; NULL: no end.';

CREATE TABLE clustertoken.node (
    realm       text NOT NULL REFERENCES clustertoken.realm ON DELETE CASCADE,
    node_id     text NOT NULL,
    version     bigint NOT NULL,
    changed_at  timestamptz NOT NULL,
    info        bytea NOT NULL,
    PRIMARY KEY (realm, node_id)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500);
COMMENT ON TABLE clustertoken.node IS 'The processes that check tokens. Each proves its freshness by rewriting its row.';
COMMENT ON COLUMN clustertoken.node.version IS 'Another one with each change.';
COMMENT ON COLUMN clustertoken.node.info IS 'JSON in UTF-8: what the node says of itself.';

CREATE TABLE clustertoken.done (
    realm    text NOT NULL REFERENCES clustertoken.realm ON DELETE CASCADE,
    id       text NOT NULL,
    made_at  timestamptz NOT NULL,
    PRIMARY KEY (realm, id)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX done_made_at ON clustertoken.done (realm, made_at);
COMMENT ON TABLE clustertoken.done IS 'Transactions of the last five minutes without an entry in the feed: one whose answer was lost is known by its id.';

CREATE VIEW clustertoken.live_tokens AS
SELECT realm, t ->> 'kind' AS kind, t ->> 'subject' AS subject, t ->> 'name' AS name,
       to_timestamp((t ->> 'issued_at')::double precision) AS issued_at,
       to_timestamp(expires_at - 60 - coalesce((t ->> 'spare')::double precision, 0)) AS valid_until_at_least,
       t -> 'labels' AS labels, t -> 'scopes' AS scopes, t ->> 'created_by' AS created_by,
       t ->> 'key' AS signed_with, key
FROM (SELECT realm, key, expires_at, convert_from(value, 'UTF8')::jsonb AS t
      FROM clustertoken.record
      WHERE key >= 'token/' COLLATE "C" AND key < 'token0' COLLATE "C") AS token
WHERE expires_at IS NULL OR expires_at > extract(epoch FROM now());
COMMENT ON VIEW clustertoken.live_tokens IS 'Tokens on record that have not expired, by this server''s clock. A mark over a subject or the realm may cover some: see recent_revocations.';

CREATE VIEW clustertoken.recent_revocations AS
SELECT realm, seq, to_timestamp(seq / 1e6) AS revoked_at, e ->> 'kind' AS what,
       e -> 'digests' AS digests, e -> 'kinds' AS token_kinds,
       to_timestamp(keep_until) AS remembered_until, deleted, id
FROM (SELECT realm, seq, id, keep_until, deleted, convert_from(body, 'UTF8')::jsonb AS e
      FROM clustertoken.entry) AS entry
WHERE e ->> 'kind' IN ('ids', 'labels', 'labels_before', 'subject', 'realm', 'not_before', 'restored', 'lock')
ORDER BY realm, seq DESC;
COMMENT ON VIEW clustertoken.recent_revocations IS 'Revocations that are still remembered, the last first. seq tells the microsecond, unless a clock was set back.';

INSERT INTO clustertoken.schema_step (version, needs) VALUES (1, 1);
