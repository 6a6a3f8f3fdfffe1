"""Drain: waits until nobody who follows a sealed store can accept a token any more.

A node that has read the seal is stale for good. One that was cut off before may go on until its
own lease runs out, and whoever revokes in the new store does not see it in that store's list. So
the new store may not be in use before. All nodes with a lease are in the list that is read behind
the seal: later contacts read the seal, and without an entry none can be fresh.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..clock import Clock
from ..cluster import Behind, Node
from ..revocations import Place
from ..stores.base import ClusterStore

#: Seconds between two looks at the list.
LOOK_EVERY = 0.1

#: ``(who may still accept, seconds until it is certain that none does, of so many)``
Progress = Callable[[list[Node], float, float], object]


class Drain:
    """The nodes of *store*, which was sealed (acknowledged to us) before this is made.

    *seal* is its number: nothing is appended behind it.
    """

    def __init__(self, store: ClusterStore, clock: Clock, seal: int) -> None:
        self._store = store
        self._clock = clock
        self._since = clock.monotonic()
        # An embedded store needs no waiting: there each request compares its node's position
        # with the store's before it is judged, so the first one behind the seal reads the seal.
        listed = [] if store.embedded else store.nodes()
        self._waiting = {one.node_id: Node.decode(one) for one in listed}
        # (Where nobody is waited for, nobody is compared with it either.)
        self._behind = Behind(store, _place(store, seal) if listed else Place(seal))
        self._longest = max(map(_over_after, self._waiting.values()), default=0.0)

    def wait(self, progress: Progress, pause: Callable[[float], object] | None = None) -> None:
        """Return once each has left, has read the seal, or has no lease left."""
        pause = pause or threading.Event().wait
        while self._waiting:
            # The time first: a look that takes long proves nothing for the time that it took.
            waited = self._clock.monotonic() - self._since
            present = {one.node_id: Node.decode(one) for one in self._store.nodes()}
            self._waiting = {
                name: node
                for name, node in self._waiting.items()
                if name in present
                and present[name] not in self._behind
                and waited < _over_after(node)
            }
            if self._waiting:
                left = max(map(_over_after, self._waiting.values())) - waited
                progress(list(self._waiting.values()), left, self._longest)
                pause(min(LOOK_EVERY, left))


def _place(store: ClusterStore, seal: int) -> Place:
    """Number *seal* with the entry that stands there, ``""`` where it cannot be read any more."""
    here = store.read(seal - 1, 1).entries[:1]
    return Place(seal, here[0].id if here and here[0].seq == seal else "")


def _over_after(node: Node) -> float:
    """Who accepts while stale is given as long as the others to read the seal; whoever moves the
    store all the same was told that nothing is certain of it (see :func:`never_certain`)."""
    certain = node.certainly_over_after
    return node.lease_over_after if certain is None else certain


def never_certain(store: ClusterStore) -> list[Node]:
    """The nodes of *store* that accept tokens while stale: the seal does not stop them."""
    return [node for node in map(Node.decode, store.nodes()) if node.certainly_over_after is None]
