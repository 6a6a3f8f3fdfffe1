"""``memory:``, the store of tests: the contract in its shortest form.

Not shared: every process has its own, and a fork's child starts with an empty one. Two
handles on one :class:`Shelf` are two nodes of a cluster inside a process.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from threading import RLock
from typing import Any, ClassVar

from ..clock import Clock
from ..errors import ConfigurationError
from . import rules
from .base import (
    CALL_TIMEOUT,
    PAGE,
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
    Root,
    Vouched,
)


class Shelf:
    """What the handles of one memory store share."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.root: Root | None = None
        self.records: dict[str, Record] = {}
        self.entries: list[Entry] = []
        self.known: dict[str, int] = {}
        self.head = 0
        self.floor = 0
        self.presence: dict[str, Presence] = {}
        self.versions = count(1)
        self.watchers: dict[int, Callable[[], None]] = {}


class MemoryStore(ClusterStore):
    """A store in this process's memory, gone with it."""

    scheme: ClassVar[str] = "memory"
    shared: ClassVar[bool] = False
    embedded: ClassVar[bool] = True

    def __init__(
        self,
        shelf: Shelf | None = None,
        *,
        clock: Clock | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> None:
        super().__init__(clock=clock, timeout=timeout)
        self._shelf = shelf or Shelf()
        self._closed = False

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
    ) -> MemoryStore:
        if url.rstrip("/") != "memory:":
            raise ConfigurationError("STORE", f"{url!r}: memory: takes no path.")
        rules.no_options("memory", options)
        return cls(clock=clock, timeout=timeout)

    @property
    def url(self) -> str:
        return "memory:"

    def _open(self) -> Shelf:
        if self._closed:
            raise rules.was_closed()
        return self._shelf

    def _writable(self) -> Shelf:
        shelf = self._open()
        rules.require_open(self.root())
        return shelf

    def forget(self) -> None:
        self._shelf = Shelf()

    def close(self) -> None:
        self._closed = True
        self._shelf.watchers.pop(id(self), None)

    # records

    def get_many(self, keys: Sequence[str]) -> Mapping[str, Record]:
        shelf, now = self._open(), self.clock.time()
        with shelf.lock:
            found = {key: shelf.records.get(key) for key in keys}
        return {key: one for key, one in found.items() if one is not None and one.alive(now)}

    def _living(self, key: str) -> Record | None:
        record = self._shelf.records.get(key)
        return record if record is not None and record.alive(self.clock.time()) else None

    def _alive(self, key: str) -> bool:
        return self._living(key) is not None

    def add(self, key: str, value: bytes, expires_at: float | None) -> bool:
        shelf = self._writable()
        with shelf.lock:
            if self._alive(key):
                return False
            shelf.records[key] = Record(value, expires_at)
            return True

    def put(self, key: str, value: bytes, expires_at: float | None) -> None:
        shelf = self._writable()
        with shelf.lock:
            shelf.records[key] = Record(value, expires_at)

    def touch(self, key: str, expires_at: float | None) -> bool:
        shelf = self._writable()
        with shelf.lock:
            if not self._alive(key):
                return False
            record = shelf.records[key]
            if record.expires_at is not None and (
                expires_at is None or expires_at > record.expires_at
            ):
                shelf.records[key] = replace(record, expires_at=expires_at)
            return True

    def delete(self, key: str) -> bool:
        shelf = self._open()
        with shelf.lock:
            alive = self._alive(key)
            shelf.records.pop(key, None)
            return alive

    def scan(self, prefix: str, after: str = "", limit: int = PAGE) -> list[tuple[str, Record]]:
        shelf, now = self._open(), self.clock.time()
        with shelf.lock:
            keys = sorted(key for key in shelf.records if key.startswith(prefix) and key > after)
            page = [(key, shelf.records[key]) for key in keys]
        return rules.page_of(((key, one) for key, one in page if one.alive(now)), limit)

    def purge(self, before: float, limit: int = PAGE) -> Purged:
        shelf = self._open()
        with shelf.lock:
            dead = [
                key
                for key, record in shelf.records.items()
                if record.expires_at is not None and record.expires_at < before
            ][:limit]
            for key in dead:
                del shelf.records[key]
            return Purged(len(dead), len(dead) < limit)

    # feed

    def append(
        self, entries: Sequence[NewEntry], changes: Sequence[Change] = (), *, above: int = 0
    ) -> list[int]:
        shelf = self._writable()
        with shelf.lock:
            if entries and entries[0].id in shelf.known:
                return [shelf.known[entry.id] for entry in entries]
            self._change(changes)
            seqs = [self._append_one(entry, above) for entry in entries]
        self._wake()
        return seqs

    def _change(self, changes: Sequence[Change]) -> None:
        rules.check_conditions(changes, self._last, self._living)
        for change in changes:
            if isinstance(change, Add | Put):
                self._shelf.records[change.key] = Record(change.value, change.expires_at)
            elif isinstance(change, Delete):
                self._shelf.records.pop(change.key, None)

    def _last(self) -> tuple[int, str | None]:
        shelf = self._shelf
        last = shelf.entries[-1] if shelf.entries else None
        return shelf.head, last.id if last and last.seq == shelf.head else None

    def _append_one(self, new: NewEntry, above: int = 0) -> int:
        shelf = self._shelf
        seq = rules.next_seq(shelf.head, self.clock.time(), above)
        shelf.entries.append(Entry(seq, shelf.head, new.id, new.body, new.keep_until))
        shelf.known[new.id] = shelf.head = seq
        return seq

    def _wake(self) -> None:
        for moved in list(self._shelf.watchers.values()):
            moved()

    def read(self, after: int, limit: int = PAGE) -> Batch:
        shelf = self._open()
        with shelf.lock:
            start = bisect_right(shelf.entries, after, key=lambda entry: entry.seq)
            page = tuple(shelf.entries[start : start + limit])
            more = start + limit < len(shelf.entries)
            return Batch(page, page[-1].seq if more else shelf.head, more, shelf.floor)

    def head(self) -> int:
        return self._open().head

    def position(self) -> int:
        return self._shelf.head

    def watch(self, moved: Callable[[], None]) -> None:
        self._open().watchers[id(self)] = moved

    def ended(self, before: float, after: int = 0, limit: int = PAGE) -> list[Entry]:
        shelf = self._open()
        with shelf.lock:
            return [
                entry
                for entry in shelf.entries
                if entry.seq > after and entry.keep_until is not None and entry.keep_until < before
            ][:limit]

    def trim(self, seqs: Sequence[int]) -> None:
        shelf, doomed = self._open(), set(seqs)
        with shelf.lock:
            gone = [entry for entry in shelf.entries if entry.seq in doomed]
            shelf.entries = [entry for entry in shelf.entries if entry.seq not in doomed]
            for entry in gone:
                shelf.known.pop(entry.id, None)
                shelf.floor = max(shelf.floor, entry.seq)

    # presence

    def announce(self, node_id: str, info: bytes) -> None:
        shelf = self._open()
        with shelf.lock:
            version = next(shelf.versions)
            shelf.presence[node_id] = Presence(node_id, info, version, self.time())

    def vouch(self, node_id: str, info: bytes) -> Vouched:
        shelf = self._open()
        with shelf.lock:
            if node_id not in shelf.presence:
                raise rules.not_announced()
            self.announce(node_id, info)
            return Vouched(shelf.head, self.time())

    def withdraw(self, node_id: str, unchanged: Presence | None = None) -> bool:
        shelf = self._open()
        with shelf.lock:
            there = shelf.presence.get(node_id)
            if there is None or (unchanged is not None and there.version != unchanged.version):
                return False
            del shelf.presence[node_id]
            return True

    def nodes(self) -> list[Presence]:
        shelf = self._open()
        with shelf.lock:
            return list(shelf.presence.values())

    # root and moving house

    def root(self) -> Root:
        shelf = self._open()
        with shelf.lock:
            if shelf.root is None:
                shelf.root = Root(epoch=secrets.token_hex(8))
            return shelf.root

    def change_root(self, old: Root, new: Root, entry: NewEntry | None = None) -> bool:
        shelf = self._open()
        with shelf.lock:
            if self.root() != old:
                return False
            shelf.root = new
            if entry is not None:
                self._append_one(entry)
        self._wake()
        return True

    def load(
        self,
        records: Iterable[tuple[str, Record]],
        entries: Iterable[Entry],
        *,
        head: int = 0,
        floor: int = 0,
        held: Held | None = None,
    ) -> None:
        shelf = self._open()
        with shelf.lock:
            rules.require_preparing(self.root())
            if held is not None:
                held.check(shelf.records.get(held.key), self.clock.time())
            shelf.records.update(records)
            have = {entry.seq for entry in shelf.entries}
            shelf.entries.extend(entry for entry in entries if entry.seq not in have)
            shelf.entries.sort(key=lambda entry: entry.seq)
            shelf.known = {entry.id: entry.seq for entry in shelf.entries}
            shelf.head = max([shelf.head, head, *shelf.known.values()])
            shelf.floor = max(shelf.floor, floor)
