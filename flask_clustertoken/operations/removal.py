"""Removal: takes a node that is gone out of the list, by hand, once it can accept nothing.

A node that still runs would come back at its next contact; one that is cut off may accept
until its own lease runs out. So the entry is watched first, by our own clock, for as long as
that lease may last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..clock import Clock
from ..cluster import Node
from ..errors import ClusterTokenError
from ..stores.base import ClusterStore, Presence

#: Seconds between two looks at the entry.
LOOK_EVERY = 0.25


class RemovalRefused(ClusterTokenError):
    """The node may still accept tokens, or there is no such node; nothing was removed."""


def find(store: ClusterStore, text: str) -> Presence:
    """The one entry whose id begins with *text* or whose node is called so (``host:pid``)."""
    listed = store.nodes()
    by_name = [one for one in listed if Node.decode(one).name == text]
    found = by_name or [one for one in listed if text and one.node_id.startswith(text)]
    if len(found) != 1:
        raise RemovalRefused(
            "several nodes are called so; give the node's id"
            if found
            else "there is no such node; see: flask tokens nodes"
        )
    return found[0]


def remove_node(
    store: ClusterStore,
    clock: Clock,
    text: str,
    *,
    progress: Callable[[float], None] | None = None,
    wait: Callable[[float], object] | None = None,
) -> Node:
    """Watch the entry of the node until its lease is over, then remove it.

    *progress* is told the seconds that are left. Raises :class:`RemovalRefused` where the node
    shows a sign of life, or accepts tokens while stale (then nothing makes it certain).
    """
    first = find(store, text)
    node = Node.decode(first)
    lease = node.certainly_over_after
    if lease is None:
        raise RemovalRefused(
            f"{node.name} accepts tokens while stale (WHEN_STALE), so it is never certain that it "
            "accepts none; it is swept when its entry has stood still for long"
        )
    start = clock.monotonic()
    pause = wait or threading.Event().wait
    while True:
        # The time first: what is read after it has stood still at least until then.
        waited = clock.monotonic() - start
        now = {one.node_id: one for one in store.nodes()}.get(first.node_id)
        if now is None:
            return node
        if now.version != first.version:
            raise RemovalRefused(
                f"{node.name} is alive: it renewed its entry while we looked; stop the process, "
                "and it leaves by itself"
            )
        if waited >= lease and store.withdraw(first.node_id, now):
            return node
        if progress is not None:
            progress(max(0.0, lease - waited))
        pause(min(LOOK_EVERY, max(0.0, lease - waited)))
