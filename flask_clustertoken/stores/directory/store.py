"""``directory:``, the embedded store: one folder, every process of one host, no server.

The folder holds an SQLite database and a counter a realm. A revocation is in force for every
request that starts on the host after :meth:`~DirectoryStore.append` has returned: the
counter is raised before it returns, and reading it costs a tenth of a microsecond. Unix
only, and never on a network file system.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from ...clock import Clock
from ...errors import ConfigurationError, StoreUnavailable
from .. import rules
from ..base import (
    CALL_TIMEOUT,
    PAGE,
    Batch,
    Change,
    ClusterStore,
    Entry,
    Held,
    NewEntry,
    Presence,
    Purged,
    Record,
    Remark,
    Root,
    Vouched,
)
from .counter import identity
from .database import Connection
from .files import LOOK_EVERY, Files
from .folder import no_file_in_the_way, remarks
from .tables import (
    ENTRY,
    META,
    SAVE_ENTRY,
    SAVE_RECORD,
    add_entries,
    alive,
    make,
    numbers_of,
    require_open,
    said,
)

#: Keys in one SELECT: what every SQLite allows.
_KEYS = 900


class DirectoryStore(ClusterStore):
    """The store in the folder *path*, which must be absolute; see the module."""

    scheme: ClassVar[str] = "directory"
    embedded: ClassVar[bool] = True
    files_total: ClassVar[int] = 1024 * 1024 * 1024
    look_every: ClassVar[float | None] = LOOK_EVERY

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        realm: str = "default",
        clock: Clock | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> None:
        super().__init__(clock=clock, timeout=timeout)
        self.path = os.fspath(path)
        if not os.path.isabs(self.path):
            raise ConfigurationError(
                "STORE", f"{self.path!r} is not an absolute path.", "Begin it with a slash."
            )
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", realm):
            raise ConfigurationError("REALM", f"{realm!r} cannot be part of a file's name.")
        self.realm = realm
        self._files = Files(self.path, realm, self.clock, timeout)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        realm: str,
        instance_path: str,
        options: Mapping[str, Any],
        clock: Clock | None,
        timeout: float,
    ) -> DirectoryStore:
        rules.no_options("directory", options)
        path = url.partition(":")[2]
        if path.startswith("///"):
            path = path[2:]
        if not path and os.path.isabs(instance_path):
            path = os.path.join(instance_path, "shared")
        if not path.startswith("/") or path.startswith("//") or "?" in path:
            raise ConfigurationError(
                "STORE",
                f"{url!r} does not name an absolute path and nothing else.",
                "Write for example: directory:///var/lib/app/shared",
            )
        no_file_in_the_way(path)
        return cls(path, realm=realm, clock=clock, timeout=timeout)

    @classmethod
    def home_of(cls, url: str) -> str:
        rest = url.partition(":")[2]
        return os.path.dirname("/" + rest.strip("/")) if rest.strip("/") else ""

    @property
    def host_folder(self) -> str:
        return self.path

    @property
    def url(self) -> str:
        return f"directory://{self.path}"

    # life

    def forget(self) -> None:
        self._files.forget()

    def close(self) -> None:
        self._files.close()

    # records

    def get_many(self, keys: Sequence[str]) -> Mapping[str, Record]:
        self._files.check_not_closed()
        now, found = self.clock.time(), {}
        for start in range(0, len(keys), _KEYS):
            some = keys[start : start + _KEYS]
            marks = ",".join("?" * len(some))
            for key, value, expires_at in self._files.query(
                f"SELECT key, value, expires_at FROM records WHERE key IN ({marks})", some
            ):
                record = Record(value, expires_at)
                if record.alive(now):
                    found[key] = record
        return found

    def add(self, key: str, value: bytes, expires_at: float | None) -> bool:
        def work(db: Connection) -> bool:
            require_open(db)
            if alive(db, key, self.clock.time()):
                return False
            db.execute(SAVE_RECORD, (key, value, expires_at))
            return True

        return self._files.write(work)

    def put(self, key: str, value: bytes, expires_at: float | None) -> None:
        def work(db: Connection) -> None:
            require_open(db)
            db.execute(SAVE_RECORD, (key, value, expires_at))

        self._files.write(work)

    def touch(self, key: str, expires_at: float | None) -> bool:
        def work(db: Connection) -> bool:
            require_open(db)
            record = alive(db, key, self.clock.time())
            if record is None:
                return False
            db.execute(
                "UPDATE records SET expires_at = ?1 WHERE key = ?2 AND expires_at IS NOT NULL"
                " AND (?1 IS NULL OR ?1 > expires_at)",
                (expires_at, key),
            )
            return True

        return self._files.write(work)

    def delete(self, key: str) -> bool:
        def work(db: Connection) -> bool:
            there = alive(db, key, self.clock.time()) is not None
            db.execute("DELETE FROM records WHERE key = ?", (key,))
            return there

        return self._files.write(work)

    def scan(self, prefix: str, after: str = "", limit: int = PAGE) -> list[tuple[str, Record]]:
        # The keys that begin with "a/" lie from "a/" on and before "a0", its successor.
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else None
        # One lower bound and not two: SQLite seeks by one of them, and if that were the prefix,
        # each page would read through all pages before it.
        start = max(prefix, after)
        # (The length of a value is known without reading it: what is too much stays on the disk.)
        rows = self._files.query(
            "SELECT key, value, expires_at FROM (SELECT key, value, expires_at,"
            " sum(length(value)) OVER (ORDER BY key) - length(value) AS before FROM"
            " (SELECT key, value, expires_at FROM records WHERE key >= ?1 AND key <> ?2"
            + (" AND key < ?3" if end else " AND ?3 IS NULL")
            + " AND (expires_at IS NULL OR expires_at > ?4) ORDER BY key LIMIT ?5))"
            " WHERE before < ?6 ORDER BY key",
            (start, after, end, self.clock.time(), limit, rules.PAGE_BYTES),
        )
        return [(key, Record(value, expires_at)) for key, value, expires_at in rows]

    def purge(self, before: float, limit: int = PAGE) -> Purged:
        def work(db: Connection) -> Purged:
            count = db.execute(
                "DELETE FROM records WHERE key IN (SELECT key FROM records"
                " WHERE expires_at < ? ORDER BY expires_at LIMIT ?)",
                (before, limit),
            ).rowcount
            return Purged(count, count < limit)

        return self._files.write(work)

    # feed

    def append(
        self, entries: Sequence[NewEntry], changes: Sequence[Change] = (), *, above: int = 0
    ) -> list[int]:
        def work(db: Connection) -> list[int]:
            require_open(db)
            known = numbers_of(db, entries)
            if known:
                return known
            make(db, changes, self.clock.time())
            return add_entries(db, entries, self.clock.time(), above)

        return self._files.write(work, durable=bool(entries))

    def read(self, after: int, limit: int = PAGE) -> Batch:
        # One statement, so the head and the entries are of one snapshot.
        rows = self._files.query(
            f"SELECT meta.head, meta.floor, {ENTRY} FROM meta LEFT JOIN"
            f" (SELECT {ENTRY} FROM feed WHERE seq > ? ORDER BY seq LIMIT ?) ORDER BY seq",
            (after, limit + 1),
        )
        head, floor = rows[0][:2]
        found = tuple(Entry(*row[2:]) for row in rows if row[2] is not None)
        page, more = found[:limit], len(found) > limit
        return Batch(page, page[-1].seq if more else head, more, floor)

    def head(self) -> int:
        head: int = self._files.query("SELECT head FROM meta")[0][0]
        self._files.repair_counter(head)
        return head

    def position(self) -> int:
        cell = self._files.cell
        return cell[0] if cell is not None else self._files.database().counter.value

    def watch(self, moved: Callable[[], None]) -> None:
        self._files.check_not_closed()  # look_every says when to look; nothing calls

    def ended(self, before: float, after: int = 0, limit: int = PAGE) -> list[Entry]:
        # (With "+", for which there is no index: the one of keep_until finds the few there are.)
        rows = self._files.query(
            f"SELECT {ENTRY} FROM feed WHERE keep_until < ? AND +seq > ? ORDER BY +seq LIMIT ?",
            (before, after, limit),
        )
        return [Entry(*row) for row in rows]

    def trim(self, seqs: Sequence[int]) -> None:
        self._files.check_not_closed()
        for start in range(0, len(seqs), _KEYS):
            self._trim(seqs[start : start + _KEYS])

    def _trim(self, seqs: Sequence[int]) -> None:
        marks = ",".join("?" * len(seqs))

        def work(db: Connection) -> None:
            ((last,),) = db.execute(
                f"SELECT max(seq) FROM feed WHERE seq IN ({marks})", seqs
            ).fetchall()
            if last is not None:
                db.execute("UPDATE meta SET floor = max(floor, ?)", (last,))
                db.execute(f"DELETE FROM feed WHERE seq IN ({marks})", seqs)

        self._files.write(work)

    # presence

    def announce(self, node_id: str, info: bytes) -> None:
        def work(db: Connection) -> None:
            db.execute(
                "INSERT INTO presence VALUES (?, ?, ?, ?) ON CONFLICT (node_id) DO UPDATE SET"
                " info = excluded.info, version = version + 1, changed_at = excluded.changed_at",
                # Begun anywhere: an entry that is made again counts other versions.
                (node_id, info, secrets.randbits(48), self.clock.time()),
            )

        self._files.write(work)

    def vouch(self, node_id: str, info: bytes) -> Vouched:
        def work(db: Connection) -> int:
            changed = db.execute(
                "UPDATE presence SET info = ?, version = version + 1, changed_at = ?"
                " WHERE node_id = ?",
                (info, self.clock.time(), node_id),
            ).rowcount
            if not changed:
                raise rules.not_announced()
            head: int = db.execute("SELECT head FROM meta").fetchall()[0][0]
            return head

        seq = self._files.write(work, look=True)
        # Store and node share the host's clock.
        return Vouched(seq, self.clock.time())

    def withdraw(self, node_id: str, unchanged: Presence | None = None) -> bool:
        def work(db: Connection) -> bool:
            version = None if unchanged is None else unchanged.version
            done = db.execute(
                "DELETE FROM presence WHERE node_id = ?1 AND (?2 IS NULL OR version = ?2)",
                (node_id, version),
            )
            return done.rowcount > 0

        return self._files.write(work)

    def nodes(self) -> list[Presence]:
        rows = self._files.query("SELECT node_id, info, version, changed_at FROM presence")
        return [Presence(*row) for row in rows]

    # root and moving house

    def remarks(self) -> list[Remark]:
        """Who may look into the folder, and what was set aside in it."""
        return remarks(self.path) if os.path.isdir(self.path) else []

    def begun(self) -> bool:
        self._files.check_not_closed()
        try:
            return identity(os.path.join(self.path, f"{self.realm}.sqlite3")) is not None
        except OSError as error:
            raise StoreUnavailable(f"{self.path} cannot be looked into: {error}") from error

    def root(self) -> Root:
        return said(self._files.query(META))[0]

    def change_root(self, old: Root, new: Root, entry: NewEntry | None = None) -> bool:
        def work(db: Connection) -> bool:
            if said(db.execute(META).fetchall())[0] != old:
                return False
            db.execute(
                "UPDATE meta SET epoch = ?, state = ?, moved_to = ?, format = ?",
                (new.epoch, new.state, new.moved_to, new.format),
            )
            if entry is not None:
                add_entries(db, [entry], self.clock.time())
            return True

        return self._files.write(work, durable=True)

    def load(
        self,
        records: Iterable[tuple[str, Record]],
        entries: Iterable[Entry],
        *,
        head: int = 0,
        floor: int = 0,
        held: Held | None = None,
    ) -> None:
        # In pieces, so that the lock is not held while the other store is being read.
        for some in rules.in_pages(records, PAGE):
            self._load(some, [], 0, 0, held)
        for page in rules.in_pages(entries, PAGE):
            self._load([], page, max(entry.seq for entry in page), 0, held)
        self._load([], [], head, floor, held)

    def _load(
        self,
        records: list[tuple[str, Record]],
        entries: list[Entry],
        head: int,
        floor: int,
        held: Held | None,
    ) -> None:
        def work(db: Connection) -> None:
            rules.require_preparing(said(db.execute(META).fetchall())[0])
            if held is not None:
                now = self.clock.time()
                held.check(alive(db, held.key, now), now)
            db.executemany(SAVE_RECORD, [(key, one.value, one.expires_at) for key, one in records])
            db.executemany(
                "INSERT OR IGNORE" + SAVE_ENTRY,
                [(one.seq, one.prev, one.id, one.body, one.keep_until) for one in entries],
            )
            db.execute("UPDATE meta SET head = max(head, ?), floor = max(floor, ?)", (head, floor))

        self._files.write(work, durable=True)
