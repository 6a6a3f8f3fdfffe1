"""House-keeping: sweeps up what is over, in small steps, by one node at a time.

Never needed for correctness: what is over is hidden long before it is deleted, and two nodes
that both sweep do no harm. Only a node whose wall clock has agreed with the store's for a
while deletes anything, and only what ended a day ago: a machine that wakes thirty days ahead
forgets nothing.
"""

from __future__ import annotations

from .clock import SKEW, Clock
from .follower import Follower
from .nodes import Node
from .notices import STALENESS_LIMIT, Notice
from .revocations import mark_covers
from .stores.base import PAGE, ClusterStore, Entry
from .tokens import NewerForm, from_record

DAY = 86_400.0

#: Seconds between two rounds, and how long the elected node stays elected.
EVERY = 30.0
ELECTED_FOR = 120.0

#: Seconds for which the clocks must have agreed before anything is deleted.
STEADY = 3600.0

#: A presence entry is removed after it stood still for its own lease and this.
QUIET = STALENESS_LIMIT + SKEW

LEASE = "lease/housekeeping"


class Housekeeping:
    """One node's chores; :meth:`run` is cheap until something is due."""

    def __init__(self, store: ClusterStore, follower: Follower, clock: Clock) -> None:
        self._store = store
        self._follower = follower
        self._clock = clock
        self._next = clock.monotonic() + EVERY
        self._stood: dict[str, tuple[int, float]] = {}
        self._sweeping: dict[int, Notice] = {}
        self._cursor = ""
        self._unread = False

    def run(self) -> None:
        """Do one small round if one is due and this node is elected."""
        now = self._clock.monotonic()
        if now < self._next or not self._follower.fresh:
            return
        self._next = now + EVERY
        if not self._elected():
            return
        self.sweep_marks()
        self.sweep_nodes()
        if now - self._follower.steady_since >= STEADY:
            self.sweep_records()
            self.sweep_feed()

    def _elected(self) -> bool:
        me = self._follower.node_id.encode()
        until = self._clock.time() + ELECTED_FOR
        if self._store.add(LEASE, me, until):
            return True
        held = self._store.get(LEASE)
        return held is not None and held.value == me and self._store.touch(LEASE, until)

    def sweep_records(self, limit: int = PAGE) -> int:
        """Delete records that ended a day ago; returns how many."""
        return self._store.purge(self._follower.past() - DAY, limit)

    def sweep_feed(self) -> int:
        """Trim entries that were over a day ago; returns how many."""
        before = self._follower.past() - DAY
        over = [one for one in self._store.ended(before) if self._over(one, before)]
        doomed = [one.seq for one in over]
        for entry in over:
            notice = Notice.decode(entry.body)
            if notice.kind == "swept":
                doomed.append(int(notice.value))
        if doomed:
            self._store.trim(sorted(doomed))
        return len(doomed)

    def _over(self, entry: Entry, before: float) -> bool:
        """The writer may not have known of the longest lifetime; this node's view does."""
        try:
            notice = Notice.decode(entry.body)
        except ValueError:
            return False
        until = notice.remembered_until(self._follower.view.longest(notice.at), entry.seq)
        return until is not None and until < before

    def sweep_marks(self) -> None:
        """Delete a page of the records that a mark over API tokens covers; note when done."""
        unswept = self._follower.view.unswept()
        if not unswept:
            return
        if set(unswept) != set(self._sweeping):
            # Begun after the append of each mark that it is for.
            self._sweeping, self._cursor, self._unread = unswept, "", False
        page = self._store.scan("token/", self._cursor)
        for key, record in page:
            try:
                token = from_record(record.value, None)
            except NewerForm:
                # It may be covered: who can read it has to finish this.
                self._unread = True
            except ValueError:
                pass  # nobody's token
            else:
                if any(mark_covers(seq, notice, token) for seq, notice in unswept.items()):
                    self._store.delete(key)
            # Only now: what could not be deleted is met again.
            self._cursor = key
        if page:
            self._next = self._clock.monotonic()
            return
        self._sweeping = {}
        if self._unread:
            return
        for seq in unswept:
            done = Notice("swept", self._clock.time(), value=float(seq))
            longest = self._follower.view.longest(done.at)
            self._store.append([done.entry(longest, f"swept-{seq}")])

    def sweep_nodes(self) -> list[str]:
        """Remove entries that stood still for longer than their own lease; by our own clock."""
        now = self._clock.monotonic()
        present = {one.node_id: one for one in self._store.nodes()}
        gone = []
        for node_id, one in present.items():
            version, since = self._stood.get(node_id, (-1, now))
            if version != one.version:
                self._stood[node_id] = (one.version, now)
            elif now - since > _lingers(Node.decode(one)):
                self._store.withdraw(node_id)
                gone.append(node_id)
        self._stood = {key: value for key, value in self._stood.items() if key in present}
        return gone


def _lingers(node: Node) -> float:
    """Seconds for which a silent entry stays. Who accepts while stale may still be at it."""
    return DAY if node.accepts_when_stale else node.max_staleness + QUIET
