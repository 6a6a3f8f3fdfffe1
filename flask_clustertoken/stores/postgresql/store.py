"""The store: each call of the contract is one transaction on the primary, sent at once."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

from ...clock import Clock
from ...errors import ConfigurationError, Conflict, MissingDriver, StoreError, StoreUnavailable
from .. import rules
from ..base import (
    CALL_TIMEOUT,
    PAGE,
    Add,
    Batch,
    Change,
    ClusterStore,
    Entry,
    Held,
    NewEntry,
    Presence,
    Purged,
    Put,
    Record,
    Remark,
    Root,
    Vouched,
)
from . import server
from .feed import PostgreSQLFeed
from .loading import load
from .place import PostgreSQLOptions, PostgreSQLPlace, parse_options, parse_place
from .realm import HEAD, Lock, PostgreSQLRealm
from .records import PostgreSQLRecords
from .schema import MayNotCreate, as_script
from .statements import array
from .steps import Steps, end
from .watch import HeadWatch

_log = logging.getLogger(__name__)

#: Seconds between two looks at how the server is set up.
_LOOK_EVERY = 60.0

_REALM: Lock = ("lock_realm", ())


class PostgreSQLStore(ClusterStore):
    """A realm in a schema of a PostgreSQL database."""

    scheme: ClassVar[str] = "postgresql"
    extra: ClassVar[str] = "postgresql"
    look_every: ClassVar[float | None] = 1.0
    files_total: ClassVar[int] = 1024 * 1024 * 1024

    def __init__(
        self,
        place: PostgreSQLPlace,
        options: PostgreSQLOptions | None = None,
        *,
        realm: str = "default",
        clock: Clock | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> None:
        super().__init__(clock=clock, timeout=timeout)
        self.place = place
        self.options = options or PostgreSQLOptions()
        self.realm = realm
        self._closed = False
        self._opened: dict[int, PostgreSQLRealm] = {}
        self._looked: dict[int, float] = {}
        self._warned: set[str] = set()
        self._reservation = ""
        self._watch: HeadWatch | None = None
        self._steps = Steps(self._open, timeout)
        self._records = PostgreSQLRecords(self._steps, self.clock)
        self._feed = PostgreSQLFeed(self._steps, self.clock)

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
    ) -> PostgreSQLStore:
        place = parse_place(url)
        parsed = parse_options(options, place)
        if find_spec("psycopg") is None:
            raise MissingDriver("STORE", "psycopg", cls.extra)
        return cls(place, parsed, realm=realm, clock=clock, timeout=timeout)

    @property
    def url(self) -> str:
        return self.place.url

    # life

    def _open(self) -> PostgreSQLRealm:
        if self._closed:
            raise rules.was_closed()
        pid = os.getpid()
        opened = self._opened.get(pid)
        if opened is None:
            # No lock: one made before a fork or before monkey-patching could not be trusted.
            made = PostgreSQLRealm(self.place, self.options, self.realm)
            opened = self._opened.setdefault(pid, made)
        return opened

    def forget(self) -> None:
        before, self._opened = self._opened, {}
        self._looked = {}
        self._watch = None
        for opened in before.values():
            opened.connections.abandon()

    def another(self) -> PostgreSQLStore:
        return type(self)(
            self.place, self.options, realm=self.realm, clock=self.clock, timeout=self.timeout
        )

    def close(self) -> None:
        self._closed = True
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()
        opened = self._opened.pop(os.getpid(), None)
        if opened is not None:
            opened.connections.shut()

    # records

    def get_many(self, keys: Sequence[str]) -> Mapping[str, Record]:
        return self._records.get_many(keys)

    def add(self, key: str, value: bytes, expires_at: float | None) -> bool:
        try:
            self.append((), (Add(key, value, expires_at),))
        except Conflict:
            return False
        return True

    def put(self, key: str, value: bytes, expires_at: float | None) -> None:
        self.append((), (Put(key, value, expires_at),))

    def touch(self, key: str, expires_at: float | None) -> bool:
        return self._records.touch(key, expires_at)

    def delete(self, key: str) -> bool:
        return self._records.delete(key)

    def scan(self, prefix: str, after: str = "", limit: int = PAGE) -> list[tuple[str, Record]]:
        return self._records.scan(prefix, after, limit)

    def purge(self, before: float, limit: int = PAGE) -> Purged:
        return self._records.purge(before, limit)

    # feed

    def append(
        self, entries: Sequence[NewEntry], changes: Sequence[Change] = (), *, above: int = 0
    ) -> list[int]:
        return self._feed.append(entries, changes, above)

    def read(self, after: int, limit: int = PAGE) -> Batch:
        return self._feed.read(after, limit)

    def head(self) -> int:
        return self._feed.head()

    def watch(self, moved: Callable[[], None]) -> None:
        opened = self._open()
        before = self._watch
        self._watch = HeadWatch(opened, moved, self.timeout)
        self._watch.start()
        if before is not None:
            before.stop()

    def ended(self, before: float, after: int = 0, limit: int = PAGE) -> list[Entry]:
        return self._feed.ended(before, after, limit)

    def trim(self, seqs: Sequence[int]) -> None:
        self._feed.trim(seqs)

    # presence

    def announce(self, node_id: str, info: bytes) -> None:
        self._steps.run("announce", node_id, rules.check_value(info))

    def vouch(self, node_id: str, info: bytes) -> Vouched:
        settle = repr(float(self.options.settle))
        ((head, now, _),) = self._steps.run("vouch", node_id, rules.check_value(info), settle)
        if not self._open().seen(head):
            raise StoreUnavailable("the PostgreSQL server lost the end of the feed")
        return Vouched(head, now / 1e6)

    def withdraw(self, node_id: str, unchanged: Presence | None = None) -> bool:
        version = "" if unchanged is None else str(unchanged.version)
        ((gone,),) = self._steps.run("withdraw", node_id, version, again=False)
        return bool(gone)

    def nodes(self) -> list[Presence]:
        rows = self._steps.run("nodes")
        return [Presence(*row) for row in rows if row[0] is not None]

    def time(self) -> float:
        ((now,),) = self._steps.run("time")
        return float(now / 1e6)

    # root and moving house

    def begun(self) -> bool:
        return bool(self._steps.run("root", make=False))

    def root(self) -> Root:
        self._look()
        try:
            ((epoch, state, moved_to, form),) = self._steps.run("root")
        except MayNotCreate as trouble:
            raise ConfigurationError("STORE", str(trouble)) from trouble
        return Root(epoch, state, moved_to, form)

    def change_root(self, old: Root, new: Root, entry: NewEntry | None = None) -> bool:
        values: list[str | bytes] = []
        for root in (old, new):
            values += [root.epoch, root.state, root.moved_to, str(root.format)]
        values.append(self._feed.at_least())
        if entry is None:
            values += ["", array([None]), b""]
        else:
            values += [entry.id, array([end(entry.keep_until)]), rules.check_value(entry.body)]
        locks = (HEAD, _REALM)
        channel = self._open().channel
        ((done, _),) = self._steps.run("change_root", *values, channel, locks=locks, again=False)
        return bool(done)

    def load(
        self,
        records: Iterable[tuple[str, Record]],
        entries: Iterable[Entry],
        *,
        head: int = 0,
        floor: int = 0,
        held: Held | None = None,
    ) -> None:
        """Every step of some hundred records or entries has a call's time for itself."""
        locks = [HEAD, *([("lock_records", (array([held.key]),))] if held else [])]
        for values in load(records, entries, head, floor, held):
            self._steps.run("load", repr(self.clock.time()), *values, locks=locks)

    def schema_script(self, app_role: str = "", reader_role: str = "") -> str:
        role = app_role or self.options.username or self.place.username or "app"
        return as_script(self.options.schema, role, reader_role)

    # how the server is set up

    def _look(self) -> None:
        """Now and then: what is amiss with the server is said, once."""
        pid, now = os.getpid(), time.monotonic()
        if now - self._looked.get(pid, -_LOOK_EVERY) < _LOOK_EVERY:
            return
        opened = self._open()
        try:
            found = server.look(opened, self._steps.deadline())
        except (StoreError, TimeoutError):
            return  # (what is asked next says so)
        self._looked[pid] = now
        self._reservation = server.unbounded(found, opened)
        for one in server.remarks(found, opened):
            if one.severity != "ok" and one.said not in self._warned:
                self._warned.add(one.said)
                _log.warning("%s. %s", one.said, one.remedy)

    def reservation(self) -> str:
        self._look()
        return self._reservation

    def remarks(self) -> list[Remark]:
        opened = self._open()
        return list(server.remarks(server.look(opened, self._steps.deadline()), opened))
