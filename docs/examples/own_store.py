import random
import sqlite3
import time
from contextlib import closing

import pytest

from flask_clustertoken.errors import ConfigurationError, StoreUnavailable
from flask_clustertoken.stores import rules
from flask_clustertoken.stores.ordered import OrderedStore
from flask_clustertoken.testing.contract import StoreContract


class OneFileStore(OrderedStore):
    """A realm in one SQLite file: an example, and not fast."""

    scheme = "onefile"

    def __init__(self, folder, *, realm="default", clock=None, timeout=5.0):
        super().__init__(clock=clock, timeout=timeout)
        self.folder, self.path = folder, f"{folder}/{realm}"

    @classmethod
    def from_url(cls, url, *, realm, instance_path, options, clock, timeout):
        rules.no_options("onefile", options)
        if not url.startswith("onefile:///"):
            raise ConfigurationError("STORE", f"{url!r} names no folder.", "onefile:///var/lib/app")
        return cls(url.removeprefix("onefile://"), realm=realm, clock=clock, timeout=timeout)

    @property
    def url(self):
        return f"onefile://{self.folder}"

    def step(self, work):
        """One transaction; opened for it, so a fork has nothing to forget."""
        try:
            with closing(sqlite3.connect(self.path, timeout=0, isolation_level=None)) as db:
                self.begin(db)
                db.execute("CREATE TABLE IF NOT EXISTS pairs (key TEXT PRIMARY KEY, value BLOB)")
                answer = work(Pairs(db))
                db.execute("COMMIT")  # what was raised above is undone by the closing
                return answer
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


class Pairs:
    """What the store asks of one transaction: text keys in the order of their bytes."""

    def __init__(self, db):
        self.db = db

    def get(self, key):
        row = self.db.execute("SELECT value FROM pairs WHERE key = ?", (key,)).fetchone()
        return row and row[0]

    def set(self, key, value):
        self.db.execute("REPLACE INTO pairs VALUES (?, ?)", (key, value))

    def delete(self, key):
        self.db.execute("DELETE FROM pairs WHERE key = ?", (key,))

    def range(self, start, limit):
        query = "SELECT key, value FROM pairs WHERE key >= ? ORDER BY key LIMIT ?"
        return self.db.execute(query, (start, limit)).fetchall()


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
