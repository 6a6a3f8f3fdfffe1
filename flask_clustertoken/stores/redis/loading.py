"""What a migration brings, cut into steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from ..base import Entry, Held, Record
from . import codec
from .realm import Argument

#: Records, or entries, and bytes of them, that go into one step.
_AT_ONCE = 200
_BYTES = 1_000_000


def load(
    records: Iterable[tuple[str, Record]],
    entries: Iterable[Entry],
    head: int,
    floor: int,
    held: Held | None,
) -> Iterator[list[Argument]]:
    """The arguments of each step; the last one sets head and floor, also of nothing."""
    condition: list[Argument] = [held.key, held.value] if held else ["", ""]
    coming = iter(records)
    while some := _some((_record(key, one), len(one.value)) for key, one in coming):
        yield [0, 0, *condition, len(some), *(part for one in some for part in one)]
    following = iter(entries)
    while some := _some((_entry(one), len(one.body)) for one in following):
        yield [0, 0, *condition, 0, *(part for one in some for part in one)]
    yield [head, floor, *condition, 0]


def _some(sized: Iterator[tuple[list[Argument], int]]) -> list[list[Argument]]:
    found, size = [], 0
    for args, length in islice(sized, _AT_ONCE):
        found.append(args)
        size += length
        if size > _BYTES:
            break
    return found


def _record(key: str, record: Record) -> list[Argument]:
    return [key, codec.end(record.expires_at), record.value]


def _entry(one: Entry) -> list[Argument]:
    return [one.seq, one.prev, one.id, codec.end(one.keep_until), one.body]
