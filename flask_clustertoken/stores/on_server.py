"""What stores on a server have in common: connections of each process, and findings said once."""

from __future__ import annotations

import logging
import os
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from ..clock import Clock
from ..errors import Conflict, NoThread, StoreError
from . import rules
from .base import (
    PAGE,
    Add,
    Batch,
    Change,
    ClusterStore,
    Entry,
    NewEntry,
    Purged,
    Put,
    Record,
    Remark,
)

#: Seconds between two looks at how the server is set up.
LOOK_EVERY = 60.0


class RealmRecords(Protocol):
    """The records of a realm, each call one step on the server."""

    def get_many(self, keys: Sequence[str]) -> Mapping[str, Record]: ...
    def touch(self, key: str, expires_at: float | None) -> bool: ...
    def delete(self, key: str) -> bool: ...
    def scan(self, prefix: str, after: str, limit: int) -> list[tuple[str, Record]]: ...
    def purge(self, before: float, limit: int) -> Purged: ...


class RealmFeed(Protocol):
    """The feed of a realm, each call one step on the server."""

    def append(
        self, entries: Sequence[NewEntry], changes: Sequence[Change], above: int
    ) -> list[int]: ...
    def read(self, after: int, limit: int) -> Batch: ...
    def head(self) -> int: ...
    def ended(self, before: float, after: int, limit: int) -> list[Entry]: ...
    def trim(self, seqs: Sequence[int]) -> None: ...


class FeedWatcher(Protocol):
    """What waits in a thread of its own for the feed to move."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


#: A realm as one process has it open, with its connections.
Opened = TypeVar("Opened")
#: What a server said of its set-up.
Facts = TypeVar("Facts")


class ServerStore(ClusterStore, Generic[Opened, Facts]):
    """A store on a server that a process reaches by connections of its own.

    Whoever derives sets the records and the feed, makes and ends what a process opens, and asks
    and judges the server.
    """

    _records: RealmRecords
    _feed: RealmFeed

    def __init__(self, *, realm: str, clock: Clock | None, timeout: float) -> None:
        super().__init__(clock=clock, timeout=timeout)
        self.realm = realm
        self._closed = False
        self._opened: dict[int, Opened] = {}
        self._looked: dict[int, float] = {}
        self._warned: set[str] = set()
        self._reservation = ""
        self._watch: FeedWatcher | None = None

    # what a kind of server does in its own way

    @abstractmethod
    def _make(self) -> Opened:
        """Open the realm; nobody is called yet."""

    @abstractmethod
    def _abandon(self, opened: Opened) -> None:
        """The connections are another process's, from before a fork: none is spoken over."""

    @abstractmethod
    def _shut(self, opened: Opened) -> None:
        """End the connections."""

    @abstractmethod
    def _watcher(self, opened: Opened, moved: Callable[[], None]) -> FeedWatcher:
        """What calls *moved* when the feed did."""

    @abstractmethod
    def _ask(self, opened: Opened) -> Facts:
        """How the server is set up. Raises a :class:`StoreError`, or :class:`TimeoutError`."""

    @abstractmethod
    def _judge(self, facts: Facts, opened: Opened) -> tuple[str, Iterable[Remark]]:
        """What it cannot promise, ``""`` for nothing, and what is to be said of it.

        Raises where such a server is refused.
        """

    # life

    def _open(self) -> Opened:
        if self._closed:
            raise rules.was_closed()
        pid = os.getpid()
        opened = self._opened.get(pid)
        if opened is None:
            # No lock: one made before a fork or before monkey-patching could not be trusted.
            opened = self._opened.setdefault(pid, self._make())
        return opened

    def forget(self) -> None:
        before, self._opened = self._opened, {}
        self._looked = {}
        self._watch = None
        for opened in before.values():
            self._abandon(opened)

    def close(self) -> None:
        self._closed = True
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()
        opened = self._opened.pop(os.getpid(), None)
        if opened is not None:
            self._shut(opened)

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
        before, watch = self._watch, self._watcher(opened, moved)
        self._watch = watch
        try:
            watch.start()
        except RuntimeError as error:
            self._watch = before
            raise NoThread("hearing of the feed's moves") from error
        if before is not None:
            before.stop()

    def ended(self, before: float, after: int = 0, limit: int = PAGE) -> list[Entry]:
        return self._feed.ended(before, after, limit)

    def trim(self, seqs: Sequence[int]) -> None:
        self._feed.trim(seqs)

    # how the server is set up

    def _look(self) -> None:
        """Now and then: whether the server is still fit. What is amiss with it is said once."""
        pid, now = os.getpid(), time.monotonic()
        if now - self._looked.get(pid, -LOOK_EVERY) < LOOK_EVERY:
            return
        opened = self._open()
        try:
            facts = self._ask(opened)
        except (StoreError, TimeoutError):
            return  # (what is asked next says so)
        self._reservation, remarks = self._judge(facts, opened)
        self._looked[pid] = now
        for one in remarks:
            if one.severity != "ok" and one.said not in self._warned:
                self._warned.add(one.said)
                log = logging.getLogger(type(self).__module__)
                log.warning("%s. %s", one.said, one.remedy)

    def reservation(self) -> str:
        self._look()
        return self._reservation

    def remarks(self) -> list[Remark]:
        opened = self._open()
        return list(self._judge(self._ask(opened), opened)[1])
