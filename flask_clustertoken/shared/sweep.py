"""Sweep: the pieces that nobody names are deleted, once nobody can be reading or writing them.

Two that sweep at once do no harm: deleting twice is fine, and what was freed is counted in the
step that deletes the note, which only one of them makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from urllib.parse import unquote

from ..clock import SKEW, Clock
from ..errors import Conflict
from ..stores.base import Change, ClusterStore, Delete, Put, Record, Unchanged
from .pieces import AT_ONCE, Note, Room, piece_key, unnamed_prefix, upload_prefix


def sweep_files(
    store: ClusterStore,
    clock: Clock,
    deployment: str = "",
    late: Callable[[], bool] = lambda: False,
) -> int:
    """Delete what is over, of one deployment or of all; returns how many files it was pieces of.

    *late*: whether there is something better to do. Where it ends, the next one goes on.
    """
    count = 0
    for key, record in store.walk(upload_prefix(deployment)):
        if late():
            return count
        if _over(record, clock):
            _take(store, key, record)
    for key, record in store.walk(unnamed_prefix(deployment)):
        if late():
            return count
        if _over(record, clock):
            place = unquote(key.split("/")[1])
            remove(store, Room(store, clock, place, 0), key, record)
            count += 1
    return count


def _over(record: Record, clock: Clock) -> bool:
    """Whether it is, by every clock that may have written it."""
    return Note.decode(record.value).until + SKEW < clock.time()


def _take(store: ClusterStore, key: str, record: Record) -> None:
    """From an upload that gives no sign of life take its note: it can write no piece any more."""
    unnamed = unnamed_prefix() + key.removeprefix(upload_prefix())
    taken: list[Change] = [Unchanged(key, record.value), Delete(key)]
    with suppress(Conflict):  # it has given a sign since, or another one has taken it
        store.append([], [*taken, Put(unnamed, record.value, None)])


def remove(store: ClusterStore, room: Room, key: str, record: Record) -> None:
    """Delete the pieces that the note *record* under *key* tells of, and then the note."""
    note, id = Note.decode(record.value), key.rpartition("/")[2]
    pieces = iter(range(note.pieces))
    while some := list(_deletions(id, pieces)):
        store.append([], some)
    with suppress(Conflict):  # another one has done it
        room.make([Unchanged(key, record.value), Delete(key)], -note.size)


def _deletions(id: str, pieces: Iterator[int]) -> Iterator[Change]:
    for number in islice(pieces, AT_ONCE):
        yield Delete(piece_key(id, number))
