import json
import random
import secrets
import sqlite3
import time
from contextlib import closing, contextmanager

import pytest

from flask_clustertoken.errors import ConfigurationError, StoreUnavailable
from flask_clustertoken.stores import rules
from flask_clustertoken.stores.base import (
    PAGE,
    Add,
    Batch,
    ClusterStore,
    Delete,
    Entry,
    Presence,
    Purged,
    Put,
    Record,
    Root,
    Vouched,
)
from flask_clustertoken.testing.contract import StoreContract

TABLES = """
CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, value BLOB, ends REAL);
CREATE TABLE IF NOT EXISTS feed (
    seq INTEGER PRIMARY KEY, prev INTEGER, id TEXT UNIQUE, body BLOB, ends REAL);
CREATE TABLE IF NOT EXISTS nodes (id TEXT PRIMARY KEY, info BLOB, version INTEGER, at REAL);
CREATE TABLE IF NOT EXISTS said (one INTEGER PRIMARY KEY, root TEXT, head INTEGER, floor INTEGER);
"""


class OneFileStore(ClusterStore):
    """A realm in one SQLite file: an example, and not fast."""

    scheme = "onefile"
    look_every = 1.0  # seconds: nobody calls us when the feed moves

    def __init__(self, folder, *, realm="default", clock=None, timeout=5.0):
        super().__init__(clock=clock, timeout=timeout)
        self.folder, self.path, self.closed = folder, f"{folder}/{realm}", False

    @classmethod
    def from_url(cls, url, *, realm, instance_path, options, clock, timeout):
        rules.no_options("onefile", options)
        if not url.startswith("onefile:///"):
            raise ConfigurationError("STORE", f"{url!r} names no folder.", "onefile:///var/lib/app")
        return cls(url.removeprefix("onefile://"), realm=realm, clock=clock, timeout=timeout)

    @property
    def url(self):
        return f"onefile://{self.folder}"

    def forget(self):
        """Nothing stays open between two calls."""

    def close(self):
        self.closed = True

    @contextmanager
    def step(self):
        """One transaction, whole or not at all; whatever goes wrong is in the family of errors."""
        if self.closed:
            raise rules.was_closed()
        try:
            with closing(sqlite3.connect(self.path, timeout=0)) as db:
                db.isolation_level = None
                self.begin(db)
                for table in TABLES.split(";"):
                    db.execute(table)
                new = json.dumps([secrets.token_hex(8), "open", "", 1])
                db.execute("INSERT OR IGNORE INTO said VALUES (1, ?, 0, 0)", (new,))
                yield db
                db.execute("COMMIT")  # (what was raised above is undone by the closing)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self.path}: {error}") from error

    def begin(self, db):
        """Wait for the others, by the deadline; oftener than SQLite does, or some would starve."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                # For the commit: whoever asks at this moment is in its way.
                db.execute(f"PRAGMA busy_timeout = {self.timeout * 1000:.0f}")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0.0, 0.002))

    def said(self, db):
        root, head, floor = db.execute("SELECT root, head, floor FROM said").fetchone()
        return Root(*json.loads(root)), head, floor

    # records

    def alive(self, db, key):
        row = db.execute("SELECT value, ends FROM records WHERE key = ?", (key,)).fetchone()
        return Record(*row) if row and Record(*row).alive(self.clock.time()) else None

    def save(self, db, key, value, ends):
        db.execute("REPLACE INTO records VALUES (?, ?, ?)", (key, value, ends))

    def get_many(self, keys):
        with self.step() as db:
            found = {key: self.alive(db, key) for key in keys}
        return {key: record for key, record in found.items() if record}

    def add(self, key, value, expires_at):
        with self.step() as db:
            rules.require_open(self.said(db)[0])
            if self.alive(db, key):
                return False
            self.save(db, key, value, expires_at)
        return True

    def put(self, key, value, expires_at):
        with self.step() as db:
            rules.require_open(self.said(db)[0])
            self.save(db, key, value, expires_at)

    def touch(self, key, expires_at):
        with self.step() as db:
            rules.require_open(self.said(db)[0])
            record = self.alive(db, key)
            longer = record and record.expires_at is not None
            if longer and (expires_at is None or expires_at > record.expires_at):
                self.save(db, key, record.value, expires_at)
        return record is not None

    def delete(self, key):
        with self.step() as db:
            there = self.alive(db, key)
            db.execute("DELETE FROM records WHERE key = ?", (key,))
        return there is not None

    def scan(self, prefix, after="", limit=PAGE):
        with self.step() as db:
            rows = db.execute(
                "SELECT * FROM records WHERE key > ? AND substr(key, 1, ?) = ?"
                " AND (ends IS NULL OR ends > ?) ORDER BY key LIMIT ?",
                (after, len(prefix), prefix, self.clock.time(), limit),
            ).fetchall()
        return rules.page_of(((key, Record(value, ends)) for key, value, ends in rows), limit)

    def purge(self, before, limit=PAGE):
        with self.step() as db:
            rows = db.execute("SELECT key FROM records WHERE ends < ? LIMIT ?", (before, limit))
            dead = rows.fetchall()
            db.executemany("DELETE FROM records WHERE key = ?", dead)
        return Purged(len(dead), len(dead) < limit)

    # feed

    def append(self, entries, changes=(), *, above=0):
        with self.step() as db:
            root, head, _ = self.said(db)
            rules.require_open(root)
            if entries and self.number_of(db, entries[0]):
                return [self.number_of(db, entry) for entry in entries]
            rules.check_conditions(
                changes, lambda: self.last(db, head), lambda key: self.alive(db, key)
            )
            for change in changes:
                if isinstance(change, Add | Put):
                    self.save(db, change.key, change.value, change.expires_at)
                elif isinstance(change, Delete):
                    db.execute("DELETE FROM records WHERE key = ?", (change.key,))
            return [self.append_one(db, entry, above) for entry in entries]

    def number_of(self, db, entry):
        row = db.execute("SELECT seq FROM feed WHERE id = ?", (entry.id,)).fetchone()
        return row[0] if row else None

    def last(self, db, head):
        row = db.execute("SELECT id FROM feed WHERE seq = ?", (head,)).fetchone()
        return head, row[0] if row else None

    def append_one(self, db, new, above=0):
        head = self.said(db)[1]
        seq = rules.next_seq(head, self.clock.time(), above)
        row = (seq, head, new.id, new.body, new.keep_until)
        db.execute("INSERT INTO feed VALUES (?, ?, ?, ?, ?)", row)
        db.execute("UPDATE said SET head = ?", (seq,))
        return seq

    def read(self, after, limit=PAGE):
        with self.step() as db:
            _, head, floor = self.said(db)
            query = "SELECT * FROM feed WHERE seq > ? ORDER BY seq LIMIT ?"
            found = [Entry(*row) for row in db.execute(query, (after, limit + 1))]
        page, more = tuple(found[:limit]), len(found) > limit
        return Batch(page, page[-1].seq if more else head, more, floor)

    def head(self):
        with self.step() as db:
            return self.said(db)[1]

    def watch(self, moved):
        with self.step():
            pass  # look_every says when to look

    def ended(self, before, after=0, limit=PAGE):
        query = "SELECT * FROM feed WHERE ends < ? AND seq > ? ORDER BY seq LIMIT ?"
        with self.step() as db:
            return [Entry(*row) for row in db.execute(query, (before, after, limit))]

    def trim(self, seqs):
        with self.step() as db:
            for seq in seqs:
                if db.execute("DELETE FROM feed WHERE seq = ?", (seq,)).rowcount:
                    db.execute("UPDATE said SET floor = max(floor, ?)", (seq,))

    # presence

    def write_node(self, db, node_id, info):
        # Never a version again, not even of an entry that was made anew.
        row = (node_id, info, secrets.randbits(60), self.clock.time())
        db.execute("REPLACE INTO nodes VALUES (?, ?, ?, ?)", row)

    def announce(self, node_id, info):
        with self.step() as db:
            self.write_node(db, node_id, info)

    def vouch(self, node_id, info):
        with self.step() as db:
            if not db.execute("SELECT 1 FROM nodes WHERE id = ?", (node_id,)).fetchone():
                raise rules.not_announced()
            self.write_node(db, node_id, info)
            return Vouched(self.said(db)[1], self.clock.time())

    def withdraw(self, node_id, unchanged=None):
        version = unchanged.version if unchanged else None
        query = "DELETE FROM nodes WHERE id = ?1 AND (?2 IS NULL OR version = ?2)"
        with self.step() as db:
            return db.execute(query, (node_id, version)).rowcount > 0

    def nodes(self):
        with self.step() as db:
            return [Presence(*row) for row in db.execute("SELECT * FROM nodes")]

    # root and moving house

    def root(self):
        with self.step() as db:
            return self.said(db)[0]

    def change_root(self, old, new, entry=None):
        with self.step() as db:
            if self.said(db)[0] != old:
                return False
            said = json.dumps([new.epoch, new.state, new.moved_to, new.format])
            db.execute("UPDATE said SET root = ?", (said,))
            if entry:
                self.append_one(db, entry)
        return True

    def load(self, records, entries, *, head=0, floor=0, held=None):
        with self.step() as db:
            rules.require_preparing(self.said(db)[0])
            if held:
                held.check(self.alive(db, held.key), self.clock.time())
            for key, record in records:
                self.save(db, key, record.value, record.expires_at)
            for one in entries:
                row = (one.seq, one.prev, one.id, one.body, one.keep_until)
                db.execute("INSERT OR IGNORE INTO feed VALUES (?, ?, ?, ?, ?)", row)
                head = max(head, one.seq)
            db.execute("UPDATE said SET head = max(head, ?), floor = max(floor, ?)", (head, floor))


# The contract's suite


class TestOneFileStore(StoreContract):
    @pytest.fixture
    def make_store(self, clock, tmp_path):
        handles = []

        def make():
            handles.append(OneFileStore(str(tmp_path), clock=clock, timeout=20))
            return handles[-1]

        yield make
        for handle in handles:
            handle.close()


def try_it():
    asked = {"instance_path": "", "options": {}, "clock": None, "timeout": 5.0}
    store = OneFileStore.from_url("onefile:///var/lib/app", realm="shop", **asked)
    assert (store.url, store.path) == ("onefile:///var/lib/app", "/var/lib/app/shop")
    assert issubclass(TestOneFileStore, StoreContract)
