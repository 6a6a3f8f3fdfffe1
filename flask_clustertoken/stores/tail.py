"""What this process knows of the feed's end, so that it can be published again.

A fail-over, or a power cut, may lose what the server had acknowledged last. Whoever knows it
puts it back. Only the end can be lost like that; so only the end is kept here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from .answers import Entry

#: Entries, and bytes, that are kept at most.
ENTRIES = 10_000
BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry, and the keys of the records that were deleted in the same step."""

    entry: Entry
    deleted: tuple[str, ...] = ()


class Tail:
    """The last entries that were read or appended, by their ids. Any thread may add."""

    def __init__(self) -> None:
        #: Of which store (its epoch) these are.
        self.epoch = ""
        #: The highest number that was ever told of, kept or not.
        self.last = 0
        self._kept: dict[str, Kept] = {}
        self._bytes = 0
        self._dropped = False
        self._lock = threading.Lock()

    def of(self, epoch: str) -> None:
        """The store is *epoch* from here on; what is kept of another one is nothing."""
        with self._lock:
            if epoch != self.epoch:
                self.epoch = epoch
                self._kept, self._bytes, self._dropped, self.last = {}, 0, False, 0

    def add(self, entries: Iterable[Kept], epoch: str) -> bool:
        """Keep *entries*, which the store *epoch* told of; ``False``: that is not the one here.

        An answer may be so late that another store was met meanwhile, and what is kept here is put
        into that one.
        """
        with self._lock:
            if epoch != self.epoch:
                return False
            for one in entries:
                if one.entry.id not in self._kept:
                    self._bytes += len(one.entry.body)
                self._kept[one.entry.id] = one
                self.last = max(self.last, one.entry.seq)
            if len(self._kept) > ENTRIES or self._bytes > BYTES:
                self._shorten()
            return True

    def _shorten(self) -> None:
        kept: dict[str, Kept] = {}
        size = 0
        for one in reversed(self.entries()):
            size += len(one.entry.body)
            if len(kept) >= ENTRIES * 3 // 4 or size > BYTES * 3 // 4:
                size -= len(one.entry.body)
                break
            kept[one.entry.id] = one
        self._kept, self._bytes, self._dropped = kept, size, True

    def forget(self, seqs: Iterable[int]) -> None:
        """These were trimmed: they are not to come again."""
        gone = set(seqs)
        with self._lock:
            for one in list(self._kept.values()):
                if one.entry.seq in gone and self._kept.pop(one.entry.id, None) is not None:
                    self._bytes -= len(one.entry.body)

    def entries(self) -> list[Kept]:
        """In the order of the feed."""
        return sorted(self._kept.copy().values(), key=lambda one: one.entry.seq)

    def bridges(self, lacking: set[str]) -> bool:
        """Whether what is kept reaches back to what the server still has.

        A server keeps the beginning of what it was told. So where it has an entry, it has
        everything before it; where it lacks even the first one that is kept here, more may be
        missing than can be put back, and that must not look whole again.
        """
        if not self._dropped or not lacking:
            return True
        kept = self.entries()
        return bool(kept) and kept[0].entry.id not in lacking
