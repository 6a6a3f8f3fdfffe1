"""Pieces of files: what they and what tells of them are called, and how much room they take.

Every piece belongs to an upload that is under way, to a file that has a name, or to what is noted
as unnamed; it changes from one to the other in one step. So no walk over the pieces is needed to
find those that nobody names, and none is ever lost sight of.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from ..backoff import Backoff
from ..clock import Clock
from ..errors import Conflict, FilesFull, StoreDamaged, StoreUnavailable
from ..stores.base import Add, Change, ClusterStore, Put, Record, Unchanged

#: Pieces that are deleted in one step.
AT_ONCE = 16

#: Seconds for which a step is tried again while others count at the same time.
PATIENCE = 30.0

_PAUSE, _LONGEST_PAUSE = 0.005, 0.25


def file_prefix(deployment: str, name: str) -> str:
    return f"file/{quote(deployment, safe='')}:{quote(name, safe='')}/"


def piece_key(id: str, number: int) -> str:
    """(By the id's first digits a store spreads them.)"""
    return f"piece/{id[:2]}/{id}/{number}"


def upload_prefix(deployment: str = "") -> str:
    """Where the uploads are that are under way."""
    return f"upload/{quote(deployment, safe='')}/" if deployment else "upload/"


def unnamed_prefix(deployment: str = "") -> str:
    """Where the pieces are noted that no file names any more."""
    return f"unnamed/{quote(deployment, safe='')}/" if deployment else "unnamed/"


@dataclass(frozen=True, slots=True)
class Note:
    """So many pieces there are at most, with so many bytes; *until* then they are left alone."""

    pieces: int
    size: int
    until: float

    def encode(self) -> bytes:
        return json.dumps([1, self.pieces, self.size, self.until]).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Note:
        try:
            form, pieces, size, until = json.loads(raw)
            if form != 1:
                raise ValueError("another form")
            return cls(pieces, size, until)
        except (ValueError, TypeError) as error:
            raise StoreDamaged("a note on the pieces of a shared file cannot be read") from error


class Room:
    """The bytes of a deployment's pieces: counted in the step that adds or removes them.

    Whoever counts reads, and writes what it read plus its own on the condition that it is still
    that: of two at once one begins anew, so that both count.
    """

    def __init__(self, store: ClusterStore, clock: Clock, deployment: str, total: int) -> None:
        self.key = f"room/{quote(deployment, safe='')}"
        self.total = total
        self._store = store
        self._clock = clock
        self._known: bytes | None = None

    def used(self) -> int:
        """Bytes that are taken now, those of replaced files that are still read included."""
        return _number(self._store.get(self.key))

    def make(self, changes: Sequence[Change], more: int) -> None:
        """Make *changes*, which take *more* bytes (or give some back), in one step.

        Raises :class:`FilesFull` where there is no room, :class:`Conflict` where a condition
        among *changes* does not hold, and a :class:`StoreError` in trouble.
        """
        over, pauses = self._clock.monotonic() + PATIENCE, Backoff(_PAUSE, _LONGEST_PAUSE)
        while True:
            found = self._known
            if found is None:
                record = self._store.get(self.key)
                found = None if record is None else record.value
            used = 0 if found is None else int(found)
            if more > 0 and used + more > self.total:
                self._known = None
                raise FilesFull(used, more, self.total)
            new = str(max(0, used + more)).encode()
            counted: list[Change] = (
                [Add(self.key, new, None)]
                if found is None
                else [Unchanged(self.key, found), Put(self.key, new, None)]
            )
            self._known = None
            try:
                self._store.append([], [*changes, *counted])
            except Conflict as error:
                if error.key != self.key:
                    raise
                if self._clock.monotonic() >= over:
                    raise StoreUnavailable(
                        f"others stored files for {PATIENCE:g} s, each time before we could"
                    ) from error
                time.sleep(pauses.next())
            else:
                self._known = new
                return


def room_of(store: ClusterStore, clock: Clock, deployment: str, total: int | None) -> Room:
    """The room of *deployment*; what it has there where *total* was not set, the store says."""
    return Room(store, clock, deployment, store.files_total if total is None else total)


def _number(record: Record | None) -> int:
    return 0 if record is None else int(record.value)
