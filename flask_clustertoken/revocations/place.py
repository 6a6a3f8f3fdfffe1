"""Place: where a reader stands in the feed."""

from __future__ import annotations

from typing import NamedTuple

from ..stores.base import Batch


class Place(NamedTuple):
    """A position in the feed: its number, and the entry that stood there (``""``: not known).

    The number alone does not tell which history it belongs to. Where a clock had run ahead,
    numbers come again after a backup was put back, one by one and under other entries.
    """

    seq: int
    entry: str = ""

    def behind(self, batch: Batch) -> Place:
        """Where a reader stands who has read *batch* from here on."""
        if batch.seq <= self.seq:
            return self
        last = batch.entries[-1] if batch.entries else None
        return Place(batch.seq, last.id if last is not None and last.seq == batch.seq else "")
