"""Forms: what is written is what every node reads, or it is not written."""

from __future__ import annotations

from ..clock import Clock
from ..errors import NodesTooOld
from ..revocations import OLDEST_FORMAT, FeedEntry
from ..stores.base import ClusterStore
from ..tokens import VERSION
from .nodes import present

#: Seconds for which it is believed that every node reads our tokens: a list of many nodes is not
#: read for each of them.
BELIEVED = 60.0


def require_readers(store: ClusterStore, feed_entry: FeedEntry) -> None:
    """:class:`NodesTooOld` where a live node would not understand *feed_entry*.

    Asks the store only for what not every version reads. A node of an older version that starts
    behind this look, or was silent, is stale once it meets the entry, never open.
    """
    if feed_entry.format <= OLDEST_FORMAT:
        return
    nodes = [one.node for one in present(store) if not one.silent]
    old = sorted(
        f"{node.name} ({node.version})" for node in nodes if node.reads < feed_entry.format
    )
    if old:
        raise NodesTooOld(feed_entry.kind, old)


class TokenReaders:
    """Whether every live node reads the newest form of tokens, for one process.

    A node that does not, and is met only after the look, refuses such a token as stale, and
    keeps its cookie: closed, never open.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = float("-inf")

    def require(self, store: ClusterStore) -> None:
        """:class:`NodesTooOld` where one of *store*'s does not; a look a minute at most."""
        now = self._clock.monotonic()
        if now < self._until:
            return
        nodes = [one.node for one in present(store) if not one.silent]
        old = sorted(f"{one.name} ({one.version})" for one in nodes if one.reads_tokens < VERSION)
        if old:
            raise NodesTooOld("a token that is bound to a device", old)
        self._until = now + BELIEVED
