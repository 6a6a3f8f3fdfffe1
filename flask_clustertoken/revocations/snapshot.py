"""Snapshot: the whole feed, read from its start.

One that a store in trouble broke off goes on where it stopped: a store that is slow is not made
slower by pages that are read again and again. It goes on only where the entry that it read last
still stands in its place, which no store that went back, or another one, can show.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..errors import StoreError
from ..stores.base import Batch, ClusterStore
from .entry import FeedEntry
from .place import Place

#: Pages of the feed read in one go; what is left is read in the next step.
PAGES_AT_ONCE = 10_000

#: The number of a revocation, and what it says.
Learnt = tuple[int, FeedEntry]


class Eras(NamedTuple):
    """What moves where whatever was read until then is doubted: the position's, the locks'."""

    position: int
    locks: int


@dataclass(slots=True)
class Read:
    """What was read, in which eras it began, and how far it came."""

    eras: Eras
    place: Place = field(default=Place(0))
    learnt: list[Learnt] = field(default_factory=list)


class Snapshot:
    """Reads *store*'s feed from its start, each page into *learn*."""

    def __init__(self, store: ClusterStore, learn: Callable[[Batch], list[Learnt]]) -> None:
        self._store = store
        self._learn = learn
        self._lock = threading.Lock()
        self._broken_off: Read | None = None

    def read(self, eras: Eras) -> Read:
        """All that the feed holds. Raises a :class:`StoreError`; the next call goes on there."""
        with self._lock:
            read, self._broken_off = self._broken_off, None
        if read is None or read.eras != eras or not read.place.entry:
            read = Read(eras)
        try:
            batch = self._next(read)
            for _ in range(PAGES_AT_ONCE):
                read.learnt += self._learn(batch)
                read.place = read.place.behind(batch)
                if not batch.more:
                    return read
                batch = self._store.read(read.place.seq)
        except StoreError:
            with self._lock:
                self._broken_off = read
            raise
        raise StoreError("the feed is longer than this node can read")

    def _next(self, read: Read) -> Batch:
        """The first page from where *read* stands, or the first of all."""
        place = read.place
        if place.seq:
            batch = self._store.read(place.seq - 1)
            if batch.entries and (batch.entries[0].seq, batch.entries[0].id) == place:
                return replace(batch, entries=batch.entries[1:])
            read.place, read.learnt = Place(0), []
        return self._store.read(0)
