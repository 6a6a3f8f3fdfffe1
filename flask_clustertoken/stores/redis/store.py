"""The store: each call of the contract is one script on the primary."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

from ...clock import Clock
from ...errors import Conflict, MissingDriver, StoreError
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
from . import codec, server
from .driver import Deadline
from .feed import RedisFeed
from .loading import load
from .place import Options, RedisPlace, parse_options, parse_place
from .realm import Argument, Asking, RedisRealm
from .records import RedisRecords
from .wakeup import Wakeup

_log = logging.getLogger(__name__)

#: Seconds between two looks at how the server is set up.
_LOOK_EVERY = 60.0


class RedisStore(ClusterStore):
    """A realm on a Redis or Valkey server."""

    scheme: ClassVar[str] = "redis"
    extra: ClassVar[str] = "redis"
    look_every: ClassVar[float | None] = 1.0

    def __init__(
        self,
        place: RedisPlace,
        options: Options | None = None,
        *,
        realm: str = "default",
        clock: Clock | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> None:
        super().__init__(clock=clock, timeout=timeout)
        self.place = place
        self.options = options or Options()
        self.realm = realm
        self._closed = False
        self._opened: dict[int, RedisRealm] = {}
        self._looked: dict[int, float] = {}
        self._warned: set[str] = set()
        self._reservation = ""
        self._wakeup: Wakeup | None = None
        self._asking = Asking(self._open, timeout)
        self._records = RedisRecords(self._asking, self.clock)
        self._feed = RedisFeed(self._asking, self.clock)

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
    ) -> RedisStore:
        place = parse_place(url)
        parsed = parse_options(options, place)
        if find_spec("redis") is None:
            raise MissingDriver("STORE", "redis", cls.extra)
        return cls(place, parsed, realm=realm, clock=clock, timeout=timeout)

    @property
    def url(self) -> str:
        return self.place.url

    # life

    def _open(self) -> RedisRealm:
        if self._closed:
            raise rules.was_closed()
        pid = os.getpid()
        opened = self._opened.get(pid)
        if opened is None:
            # No lock: one made before a fork or before monkey-patching could not be trusted.
            opened = self._opened.setdefault(pid, RedisRealm(self.place, self.options, self.realm))
        return opened

    def forget(self) -> None:
        before, self._opened = self._opened, {}
        self._looked = {}
        self._wakeup = None
        for opened in before.values():
            opened.line.abandon()

    def another(self) -> RedisStore:
        return type(self)(
            self.place, self.options, realm=self.realm, clock=self.clock, timeout=self.timeout
        )

    def close(self) -> None:
        self._closed = True
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None:
            wakeup.stop()
        opened = self._opened.pop(os.getpid(), None)
        if opened is not None:
            opened.line.drop()

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
        before = self._wakeup
        self._wakeup = Wakeup(opened.topology, opened.channel, moved, self.timeout)
        self._wakeup.start()
        if before is not None:
            before.stop()

    def ended(self, before: float, after: int = 0, limit: int = PAGE) -> list[Entry]:
        return self._feed.ended(before, after, limit)

    def trim(self, seqs: Sequence[int]) -> None:
        self._feed.trim(seqs)

    # presence

    def announce(self, node_id: str, info: bytes) -> None:
        self._asking.run("announce", node_id, rules.check_value(info), acknowledged=True)

    def vouch(self, node_id: str, info: bytes) -> Vouched:
        settle = int(self._open().settle * 1e6)
        head, now = self._asking.run(
            "vouch", node_id, rules.check_value(info), settle, acknowledged=True
        )
        return Vouched(int(head), int(now) / 1e6)

    def withdraw(self, node_id: str, unchanged: Presence | None = None) -> bool:
        version = "" if unchanged is None else str(unchanged.version)
        (gone,) = self._asking.run("withdraw", node_id, version, acknowledged=True, again=False)
        return bool(gone)

    def nodes(self) -> list[Presence]:
        told = self._asking.run("nodes", acknowledged=True)
        pairs = zip(told[::2], told[1::2], strict=True)
        return [codec.presence(name, packed) for name, packed in pairs]

    def time(self) -> float:
        (now,) = self._asking.run("time")
        return int(now) / 1e6

    # root and moving house

    def begun(self) -> bool:
        opened, deadline = self._open(), Deadline(self.timeout)
        return opened.run(deadline, "root", make=False)[0] is not None

    def root(self) -> Root:
        self._look()
        epoch, state, moved_to, form = self._asking.run("root")
        return Root(epoch.decode(), state.decode(), moved_to.decode(), int(form))

    def change_root(self, old: Root, new: Root, entry: NewEntry | None = None) -> bool:
        args: list[Argument] = []
        for root in (old, new):
            args += [root.epoch, root.state, root.moved_to, root.format]
        args += [self._open().channel, self._feed.at_least()]
        if entry is not None:
            args += [entry.id, codec.end(entry.keep_until), rules.check_value(entry.body)]
        (done,) = self._asking.run("change_root", *args, acknowledged=True, again=False)
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
        for args in load(records, entries, head, floor, held):
            self._asking.run("load", repr(self.clock.time()), *args, acknowledged=True)

    # how the server is set up

    def _look(self) -> None:
        """Now and then: whether this server is still fit. What is amiss with it is said once."""
        pid, now = os.getpid(), time.monotonic()
        if now - self._looked.get(pid, -_LOOK_EVERY) < _LOOK_EVERY:
            return
        opened = self._open()
        try:
            found = server.look(opened.line, Deadline(self.timeout))
        except (StoreError, TimeoutError):
            return  # (what is asked next says so)
        server.refuse_unfit(found, opened.topology)
        self._looked[pid] = now
        self._reservation = server.unbounded(found, opened.topology)
        for one in server.remarks(found, opened.topology, self.options):
            if one.severity != "ok" and one.said not in self._warned:
                self._warned.add(one.said)
                _log.warning("%s. %s", one.said, one.remedy)

    def reservation(self) -> str:
        self._look()
        return self._reservation

    def remarks(self) -> list[Remark]:
        opened, deadline = self._open(), Deadline(self.timeout)
        found = server.look(opened.line, deadline)
        server.refuse_unfit(found, opened.topology)
        return list(server.remarks(found, opened.topology, self.options))


class TlsRedisStore(RedisStore):
    """The same over TLS: ``rediss://``."""

    scheme: ClassVar[str] = "rediss"


class SentinelRedisStore(RedisStore):
    """The same, its primary named by Sentinels: ``redis+sentinel://``."""

    scheme: ClassVar[str] = "redis+sentinel"
