"""Forms: what is written is what every node reads, or it is not written."""

from __future__ import annotations

from ..errors import NodesTooOld
from ..revocations import OLDEST_FORMAT, FeedEntry
from ..stores.base import ClusterStore
from .nodes import present


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
