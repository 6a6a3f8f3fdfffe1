"""Revocation, and the confirmation that it is in force everywhere. Never a false "everywhere".

A barrier is appended to the feed; each node answers it by publishing what it has applied. Who
lists the nodes after the barrier was acknowledged sees every node that may still accept: a
node without an entry cannot be fresh. A node that does not answer stops by itself when its own
lease runs out, which is certain at a time that its entry lets us name.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..events import RevocationConfirmed
from ..revocations import FeedEntry, Place
from ..stores.base import ClusterStore
from .nodes import Node
from .publishing import Publisher

#: Seconds between two looks at the list of nodes, at first and at most.
FIRST_LOOK, LAST_LOOK = 0.005, 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """*node* had applied the revocation *after* so many seconds."""

    node: Node
    after: float
    #: It left, or its lease ran out: it did not answer, and accepts nothing.
    by_silence: bool = False


@dataclass(frozen=True, slots=True)
class Silence:
    """*node* has not answered. *certain_in* seconds from now it cannot accept any more.

    ``None``: it accepts tokens while stale (``WHEN_STALE = "accept"``), so nothing is certain.
    """

    node: Node
    certain_in: float | None


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What happened. True if the revocation is in force on every node that may accept tokens."""

    seq: int
    elapsed: float
    answered: tuple[Answer, ...] = ()
    silent: tuple[Silence, ...] = ()
    #: Hosts in ``EXPECTED_NODES`` of which no node is listed (so none of them can be fresh).
    missing: tuple[str, ...] = ()
    #: What this leaves open by the way the store is set up; ``""``: nothing.
    reservation: str = ""

    @property
    def in_force(self) -> bool:
        return not self.silent

    def __bool__(self) -> bool:
        return self.in_force

    @property
    def certain_in(self) -> float | None:
        """Seconds until it is in force everywhere at the latest; ``None``: not certain."""
        ends = [one.certain_in for one in self.silent]
        return None if None in ends else max((end for end in ends if end is not None), default=0.0)


@dataclass(frozen=True, slots=True)
class Revocation:
    """An acknowledged revocation: number *seq* of the feed."""

    seq: int
    _publisher: Publisher

    def __repr__(self) -> str:
        return f"<Revocation {self.seq}>"

    def confirm(
        self, timeout: float = 5.0, progress: Callable[[Confirmation], None] | None = None
    ) -> Confirmation:
        """Wait at most *timeout* seconds until every node has answered, and say what happened.

        Immediate on an embedded store: there it was in force when the revocation returned.
        *progress* is called with each intermediate state. Raises
        :class:`~flask_clustertoken.errors.StoreError` where the store cannot be asked.
        """
        return confirm(self._publisher, self.seq, timeout, progress)


def confirm(
    publisher: Publisher,
    seq: int,
    timeout: float,
    progress: Callable[[Confirmation], None] | None = None,
) -> Confirmation:
    """See :meth:`Revocation.confirm`."""
    runtime = publisher.runtime
    clock, store = runtime.clock, runtime.store
    start = clock.monotonic()
    if store.embedded:
        return Confirmation(seq, clock.monotonic() - start)
    entry_id = secrets.token_hex(16)
    barrier = publisher.append(FeedEntry("barrier", clock.time()), entry_id=entry_id)
    behind = Behind(store, Place(barrier, entry_id))
    if runtime.active:
        runtime.follower().step()
    # From here on: whoever may accept tokens is in this list, or joined behind the barrier.
    waiting = {one.node_id: Node.decode(one) for one in store.nodes()}
    listed_at = clock.monotonic()
    reservation = store.reservation()
    hosts = {node.host for node in waiting.values()}
    missing = tuple(host for host in runtime.settings.expected_nodes if host not in hosts)
    answered: list[Answer] = []
    pause = FIRST_LOOK
    while True:
        present = {one.node_id: Node.decode(one) for one in store.nodes()}
        behind.meet(present.values())
        now = clock.monotonic()
        for node_id, node in list(waiting.items()):
            here = present.get(node_id)
            ends = _certain_in(node, now - listed_at)
            if here is not None and here in behind:
                answered.append(Answer(here, now - start))
            elif here is None or (ends is not None and ends <= 0):
                # Withdrawn: its owner gave the lease up first. Or the lease has run out.
                answered.append(Answer(node, now - start, by_silence=True))
            else:
                continue
            del waiting[node_id]
        state = Confirmation(
            seq,
            now - start,
            tuple(answered),
            tuple(Silence(one, _certain_in(one, now - listed_at)) for one in waiting.values()),
            missing,
            reservation,
        )
        if progress is not None:
            progress(state)
        if not waiting or now - start >= timeout:
            runtime.events.announce(RevocationConfirmed(seq, state.elapsed, state.in_force))
            return state
        threading.Event().wait(min(pause, max(0.0, timeout - (now - start))))
        pause = min(pause * 1.5, LAST_LOOK)


class Behind:
    """The feed from *barrier* on. A node that stands there has applied what comes before it.

    By the number alone a node of another history would count: where a clock had run ahead, one
    that has not noticed yet that a backup was put back stands at a number above the barrier.
    """

    def __init__(self, store: ClusterStore, barrier: Place) -> None:
        self._store = store
        self._barrier = self._end = barrier.seq
        self._places = {barrier}

    def meet(self, nodes: Iterable[Node]) -> None:
        """Read on, where one of *nodes* may stand at what was appended since."""
        if not any(self._may_be(one) and one not in self for one in nodes):
            return
        more = True
        while more:
            batch = self._store.read(self._end)
            self._places.update(Place(one.seq, one.id) for one in batch.entries)
            self._end, more = batch.entries[-1].seq if batch.entries else self._end, batch.more

    def _may_be(self, node: Node) -> bool:
        return node.applied >= self._barrier

    def __contains__(self, node: Node) -> bool:
        if not self._may_be(node):
            return False
        return not node.applied_entry or (node.applied, node.applied_entry) in self._places


def _certain_in(node: Node, waited: float) -> float | None:
    over_after = node.certainly_over_after
    return None if over_after is None else max(0.0, over_after - waited)
