"""The store: each call of the contract is one script on the primary."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

from ...clock import Clock
from ...errors import ClusterTokenError, Conflict, MissingDriver, StoreError, ValueTooLarge
from ..base import (
    CALL_TIMEOUT,
    PAGE,
    VALUE_LIMIT,
    Add,
    Batch,
    Change,
    ClusterStore,
    Delete,
    Entry,
    Held,
    NewEntry,
    Presence,
    Purged,
    Put,
    Record,
    Remark,
    Require,
    Root,
    Vouched,
)
from . import codec, server
from .driver import Deadline
from .loading import load
from .place import Options, Place, parse_options, parse_place
from .realm import Argument, Realm
from .wakeup import Wakeup

_log = logging.getLogger(__name__)

#: Keys, or numbers, that one step takes.
_AT_ONCE = 500

#: Seconds between two looks at how the server is set up.
_LOOK_EVERY = 60.0

#: Entries that have ended and are sorted in one step; where there are more, the feed is walked.
_SORTED = 10_000


class RedisStore(ClusterStore):
    """A realm on a Redis or Valkey server."""

    scheme: ClassVar[str] = "redis"
    extra: ClassVar[str] = "redis"
    look_every: ClassVar[float | None] = 1.0

    def __init__(
        self,
        place: Place,
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
        self._opened: dict[int, Realm] = {}
        self._looked: dict[int, float] = {}
        self._warned: set[str] = set()
        self._wakeup: Wakeup | None = None

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

    def _open(self) -> Realm:
        if self._closed:
            raise ClusterTokenError("this store handle was closed")
        pid = os.getpid()
        opened = self._opened.get(pid)
        if opened is None:
            # No lock: one made before a fork or before monkey-patching could not be trusted.
            opened = self._opened.setdefault(pid, Realm(self.place, self.options, self.realm))
        return opened

    def _run(
        self, name: str, *args: Argument, acknowledged: bool = False, again: bool = True
    ) -> list[Any]:
        return self._open().run(
            Deadline(self.timeout), name, *args, acknowledged=acknowledged, again=again
        )

    def _now(self) -> str:
        return repr(self.clock.time())

    def forget(self) -> None:
        before, self._opened = self._opened, {}
        self._looked = {}
        self._wakeup = None
        for opened in before.values():
            opened.line.abandon()

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
        found = self._get(keys)
        opened = self._open()
        missing = [key for key in keys if key not in found]
        if missing and opened.topology.acknowledging:
            # An old primary that was cut off lacks what was added since: only behind a write
            # that the replicas acknowledged is it known to be none.
            self._run("head", acknowledged=True)
            found |= self._get(missing)
        return found

    def _get(self, keys: Sequence[str]) -> dict[str, Record]:
        now, found = self.clock.time(), {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            for key, packed in zip(some, self._run("get", *some), strict=True):
                if packed is not None and (record := codec.record(packed)).alive(now):
                    found[key] = record
        return found

    def add(self, key: str, value: bytes, expires_at: float | None) -> bool:
        try:
            self.append((), (Add(key, value, expires_at),))
        except Conflict:
            return False
        return True

    def put(self, key: str, value: bytes, expires_at: float | None) -> None:
        self.append((), (Put(key, value, expires_at),))

    def touch(self, key: str, expires_at: float | None) -> bool:
        (done,) = self._run("touch", self._now(), key, codec.end(expires_at))
        return bool(done)

    def delete(self, key: str) -> bool:
        (lived,) = self._run("delete", self._now(), key, acknowledged=True, again=False)
        return bool(lived)

    def scan(self, prefix: str, after: str = "", limit: int = PAGE) -> list[tuple[str, Record]]:
        start = f"({after}" if after else f"[{prefix}"
        end = f"({prefix[:-1]}0" if prefix else "+"  # (0 is the sign that follows the slash)
        if after and after < prefix:
            start = f"[{prefix}"
        while True:
            told = self._run("scan", start, end, limit)
            page = [
                (name.decode(), codec.record(packed))
                for name, packed in zip(told[::2], told[1::2], strict=True)
            ]
            now = self.clock.time()
            living = [one for one in page if one[1].alive(now)]
            if living or not page:
                return living
            start = f"({page[-1][0]}"

    def purge(self, before: float, limit: int = PAGE) -> Purged:
        (deleted,) = self._run("purge", repr(before), limit, again=False)
        return Purged(int(deleted), int(deleted) < limit)

    # feed

    def append(
        self, entries: Sequence[NewEntry], changes: Sequence[Change] = (), *, above: int = 0
    ) -> list[int]:
        opened, deleted = self._open(), [one.key for one in changes if isinstance(one, Delete)]
        args: list[Argument] = [self._now(), self._number(above), opened.channel, len(changes)]
        for change in changes:
            args += _as_arguments(change)
        bodies = [_fitting(new.body) for new in entries]
        kept = [codec.deleted_keys(deleted)] + [""] * len(entries)
        for new, body, gone in zip(entries, bodies, kept, strict=False):
            args += [new.id, codec.end(new.keep_until), gone, body]
        # (Its entry's id tells whether a transaction was done; without one nothing does.)
        told = opened.run(
            Deadline(self.timeout),
            "append",
            *args,
            acknowledged=True,
            again=bool(entries),
            learn=lambda told: _as_kept(entries, told, deleted),
        )
        return [int(seq) for seq in told]

    def _number(self, above: int = 0) -> int:
        """What the next number is at least."""
        return max(int(self.clock.time() * 1e6), above + 1)

    def read(self, after: int, limit: int = PAGE) -> Batch:
        kept: list[codec.Kept] = []

        def learn(answer: list[Any]) -> list[codec.Kept]:
            kept.extend(codec.entry(one) for one in answer[3:])
            return kept

        head, floor, more, *_ = self._open().run(
            Deadline(self.timeout), "read", max(0, after), limit, learn=learn
        )
        entries = tuple(one.entry for one in kept)
        seq = entries[-1].seq if more else int(head)
        return Batch(entries, seq, bool(more), int(floor))

    def head(self) -> int:
        (head,) = self._run("head", acknowledged=True)
        return int(head)

    def watch(self, moved: Callable[[], None]) -> None:
        opened = self._open()
        before = self._wakeup
        self._wakeup = Wakeup(opened.topology, opened.channel, moved, self.timeout)
        self._wakeup.start()
        if before is not None:
            before.stop()

    def ended(self, before: float, after: int = 0, limit: int = PAGE) -> list[Entry]:
        opened, deadline = self._open(), Deadline(self.timeout)
        found: list[Entry] = []
        position = str(max(0, after))
        while position and len(found) < limit:
            args = (repr(before), position, limit - len(found), _SORTED)
            told, *packed = opened.run(deadline, "ended", *args)
            position = told.decode()
            found += [codec.entry(one).entry for one in packed if one is not None]
        return found

    def trim(self, seqs: Sequence[int]) -> None:
        for start in range(0, len(seqs), _AT_ONCE):
            self._run("trim", *seqs[start : start + _AT_ONCE])
        self._open().tail.forget(seqs)

    # presence

    def announce(self, node_id: str, info: bytes) -> None:
        self._run("announce", node_id, _fitting(info), acknowledged=True)

    def vouch(self, node_id: str, info: bytes) -> Vouched:
        settle = int(self._open().settle * 1e6)
        head, now = self._run("vouch", node_id, _fitting(info), settle, acknowledged=True)
        return Vouched(int(head), int(now) / 1e6)

    def withdraw(self, node_id: str, unchanged: Presence | None = None) -> bool:
        version = "" if unchanged is None else str(unchanged.version)
        (gone,) = self._run("withdraw", node_id, version, acknowledged=True, again=False)
        return bool(gone)

    def nodes(self) -> list[Presence]:
        told = self._run("nodes", acknowledged=True)
        pairs = zip(told[::2], told[1::2], strict=True)
        return [codec.presence(name, packed) for name, packed in pairs]

    def time(self) -> float:
        (now,) = self._run("time")
        return int(now) / 1e6

    # root and moving house

    def begun(self) -> bool:
        opened, deadline = self._open(), Deadline(self.timeout)
        return opened.run(deadline, "root", make=False)[0] is not None

    def root(self) -> Root:
        self._look()
        epoch, state, moved_to, form = self._run("root")
        return Root(epoch.decode(), state.decode(), moved_to.decode(), int(form))

    def change_root(self, old: Root, new: Root, entry: NewEntry | None = None) -> bool:
        args: list[Argument] = []
        for root in (old, new):
            args += [root.epoch, root.state, root.moved_to, root.format]
        args += [self._open().channel, self._number()]
        if entry is not None:
            args += [entry.id, codec.end(entry.keep_until), _fitting(entry.body)]
        (done,) = self._run("change_root", *args, acknowledged=True, again=False)
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
            self._run("load", self._now(), *args, acknowledged=True)

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
        for one in server.remarks(found, opened.topology, self.options):
            if one.severity != "ok" and one.said not in self._warned:
                self._warned.add(one.said)
                _log.warning("%s. %s", one.said, one.remedy)

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


def _as_arguments(change: Change) -> list[Argument]:
    if isinstance(change, Add | Put):
        what = "add" if isinstance(change, Add) else "put"
        return [what, change.key, codec.end(change.expires_at), _fitting(change.value)]
    return ["require" if isinstance(change, Require) else "delete", change.key, "", ""]


def _as_kept(
    entries: Sequence[NewEntry], told: Sequence[bytes], deleted: Sequence[str]
) -> list[codec.Kept]:
    """What was appended, under the numbers that it got; what was deleted goes with the first."""
    return [
        codec.Kept(
            Entry(int(seq), 0, new.id, new.body, new.keep_until),
            tuple(deleted) if number == 0 else (),
        )
        for number, (seq, new) in enumerate(zip(told, entries, strict=True))
    ]


def _fitting(value: bytes) -> bytes:
    if len(value) > VALUE_LIMIT:
        raise ValueTooLarge("a value", len(value), VALUE_LIMIT)
    return value
