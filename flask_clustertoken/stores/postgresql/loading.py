"""What a migration brings, cut into steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from ..base import Entry, Held, Record
from .driver import Value
from .statements import array, byte_array
from .steps import end

#: Records, or entries, and bytes of them, that go into one step.
_AT_ONCE = 500
_BYTES = 1_000_000

Item = TypeVar("Item")


def load(
    records: Iterable[tuple[str, Record]],
    entries: Iterable[Entry],
    head: int,
    floor: int,
    held: Held | None,
) -> Iterator[list[Value]]:
    """What each step is told; the last one sets head and floor, also of nothing."""
    condition: list[Value] = [held.key, held.value] if held else ["", b""]
    coming = ((one, len(one[1].value)) for one in records)
    while some := _some(coming):
        yield ["0", "0", *condition, *_records(some), *_entries([])]
    following = ((one, len(one.body)) for one in entries)
    while more := _some(following):
        yield ["0", "0", *condition, *_records([]), *_entries(more)]
    yield [str(head), str(floor), *condition, *_records([]), *_entries([])]


def _some(sized: Iterator[tuple[Item, int]]) -> list[Item]:
    found, size = [], 0
    for one, length in islice(sized, _AT_ONCE):
        found.append(one)
        size += length
        if size > _BYTES:
            break
    return found


def _records(some: list[tuple[str, Record]]) -> list[Value]:
    last = dict(some)
    return [
        array([*last]),
        array([end(one.expires_at) for one in last.values()]),
        byte_array([one.value for one in last.values()]),
    ]


def _entries(some: list[Entry]) -> list[Value]:
    return [
        array([str(one.seq) for one in some]),
        array([str(one.prev) for one in some]),
        array([one.id for one in some]),
        array([end(one.keep_until) for one in some]),
        byte_array([one.body for one in some]),
    ]
