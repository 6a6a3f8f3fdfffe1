"""Sweeper: sweeps up what is over, in small steps, by one node at a time.

Never needed for correctness: what is over is hidden long before it is deleted, and two nodes
that both sweep do no harm. Only a node whose wall clock has agreed with the store's for a
while deletes anything, and only what ended a day ago: a machine that wakes thirty days ahead
forgets nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import inf

from ..backoff import share
from ..clock import SKEW, Clock
from ..errors import Conflict
from ..revocations import BEYOND, FeedEntry, Follower, mark_covers
from ..settings import STALENESS_LIMIT
from ..stores import Lease
from ..stores.base import PAGE, Change, ClusterStore, Delete, Entry, Purged, Put, Record
from ..tokens import NewerForm, from_record
from .nodes import Node

DAY = 86_400.0

#: Seconds between two rounds, and how long the elected node stays elected.
EVERY = 30.0
ELECTED_FOR = 120.0

#: Seconds for which the clocks must have agreed before anything is deleted.
STEADY = 3600.0

#: A presence entry is removed after it stood still for its own lease and this.
QUIET = STALENESS_LIMIT + SKEW

LEASE = "lease/housekeeping"

#: Up to which time of day things may be swept; see :meth:`Sweeper.over`.
SWEPT = "lease/swept-up-to"

#: How much faster than time itself that may move: after an outage it has to catch up.
CATCH_UP = 2.0

#: Seconds that one round may take.
PATIENCE = 1.0

#: Deletions in one transaction.
AT_ONCE = 100

#: Entries of the feed that are looked at, and trimmed, in one go.
LOOKED_AT = 250


#: What else is to be swept, by those who know of it; told how to ask whether time is over.
Chore = Callable[[Callable[[], bool]], object]

#: Seconds between two rounds of each of those.
MORE_EVERY = 300.0


class Sweeper:
    """One node's chores; :meth:`run` is cheap until something is due."""

    def __init__(
        self,
        store: ClusterStore,
        follower: Follower,
        clock: Clock,
        more: Sequence[Chore] = (),
        swept: Callable[[str, int], None] | None = None,
    ) -> None:
        self._store = store
        #: Told of what was swept, and of how much.
        self._swept = swept
        self.follower = follower
        self._clock = clock
        # (No margin: two that both sweep do no harm, and a day lies between end and deletion.)
        self._lease = Lease(store, LEASE, margin=0.0, clock=clock)
        #: What must hold where it is noted how far was swept. A command line is not elected.
        self._guard: list[Change] = []
        # (Nodes that were started together do not look together.)
        self._next = clock.monotonic() + share(EVERY, 0.5)
        self._stood: dict[str, tuple[int, float]] = {}
        self._sweeping: dict[int, FeedEntry] = {}
        self._cursor = ""
        self._unread = False
        self._ended_up_to = 0
        self._more, self._more_due = more, clock.monotonic()
        self._turn = 0
        self._measured = clock.monotonic()
        #: (A command line, which is no node, has all the time that it wants.)
        self._until = inf

    def run(self) -> None:
        """Do one small round if one is due and this node is elected."""
        now = self._clock.monotonic()
        if now < self._next or not self.follower.fresh:
            return
        self._next = now + share(EVERY, 0.5)
        self._until = min(now + PATIENCE, self.follower.next_contact)
        if not self._elected():
            return
        chores: list[Callable[[], object]] = [
            self.sweep_marks,
            partial(self._told, "nodes", lambda: len(self.sweep_nodes())),
        ]
        if now - self.follower.clocks.steady_since >= STEADY:
            chores += [
                partial(self._told, "records", lambda: self.sweep_records().deleted),
                partial(self._told, "entries", self.sweep_feed),
                partial(self._told, "locks", self.sweep_locks),
            ]
        else:
            self._measured = now
        if now >= self._more_due:
            self._more_due = now + MORE_EVERY
            chores += [partial(one, self._late) for one in self._more]
        for _ in range(len(chores)):
            # In turns: where one takes all the time, the next round begins with the others.
            self._turn = (self._turn + 1) % len(chores)
            try:
                chores[self._turn]()
            except Conflict:
                return  # it took longer than the lease, and another one is at it
            if self._late():
                break
        if self._sweeping:
            self._next = self._clock.monotonic()

    def _told(self, what: str, chore: Callable[[], int]) -> None:
        count = chore()
        if count and self._swept is not None:
            self._swept(what, count)

    def _elected(self) -> bool:
        lease = self._lease
        if lease.left > ELECTED_FOR / 2:
            return True
        if lease.held:
            return lease.hold(ELECTED_FOR)
        if self._store.peek(LEASE) is not None:
            # Of many nodes all but one find out by a read that there is nothing to do.
            return False
        elected = lease.take(ELECTED_FOR)
        self._guard = lease.needed()
        return elected

    def over(self) -> float:
        """What ended before this time of day may be deleted: a day ago, by what time has passed.

        On one host the store has no other clock than ours, and one that is a month ahead for
        an afternoon would delete what is in force. So what may be swept moves on with the clock
        that nobody can set, from where it stood before, whatever the time of day is said to be.
        """
        said, now = self.follower.past(), self._clock.monotonic()
        record = self._store.get(SWEPT)
        if record is not None:
            passed = max(0.0, now - self._measured) * CATCH_UP
            said = min(said, float(record.value) + passed)
        self._measured = now
        # (A put under our lease: two sweepers would let it move on twice as fast as it may.)
        self._store.append([], [*self._guard, Put(SWEPT, repr(said).encode(), None)])
        return said - DAY

    def sweep_records(self, limit: int = PAGE) -> Purged:
        """Delete records that ended a day ago."""
        return self._store.purge(self.over(), limit)

    def sweep_feed(self) -> int:
        """Trim entries that were over a day ago; returns how many.

        Some have ended, as far as their writers knew, and are in force for longer. However many
        these are: where a round ends, the next one goes on behind them.
        """
        before, count = self.over(), 0
        while page := self._store.ended(before, self._ended_up_to, LOOKED_AT):
            doomed = [one for one in page if self._over(one, before)]
            if doomed:
                self._store.trim(sorted({*self._with_marks(doomed)}))
                count += len(doomed)
            self._ended_up_to = page[-1].seq
            if self._late():
                return count
        self._ended_up_to = 0
        return count

    def _with_marks(self, entries: Iterable[Entry]) -> Iterator[int]:
        """The numbers of *entries*, and of the marks that they say are swept."""
        for entry in entries:
            yield entry.seq
            feed_entry = FeedEntry.decode(entry.body)
            if feed_entry.kind == "swept":
                yield int(feed_entry.value)

    def _late(self) -> bool:
        """Whether the follower has something better to do: it must not lose its lease to this."""
        return self._clock.monotonic() >= self._until

    def _over(self, entry: Entry, before: float) -> bool:
        """The writer may not have known of the longest lifetime; this node's view does."""
        try:
            feed_entry = FeedEntry.decode(entry.body)
        except ValueError:
            return False
        view = self.follower.view
        until = feed_entry.remembered_until(view.longest(feed_entry.at), entry.seq)
        if until is None or until >= before:
            return False
        return feed_entry.kind != "lock" or not view.locks.holds(entry.seq)

    def sweep_marks(self) -> None:
        """Delete a page of the records that a mark over API tokens covers; note when done."""
        past = self.follower.past()
        unswept = {
            seq: mark
            for seq, mark in self.follower.view.unswept().items()
            # (Until its time has come it covers what is issued from here on, too.)
            if mark.kind != "not_before" or mark.value + SKEW < past
        }
        if not unswept:
            self._sweeping = {}  # another one has finished it
            return
        if unswept != self._sweeping:
            # Begun after the append of each mark that it is for. (After a restore another one may
            # have the number of one that was lost.)
            self._sweeping, self._cursor, self._unread = unswept, "", False
        for page in self._store.pages("token/", self._cursor, AT_ONCE):
            covered = [key for key, record in page if self._covered(record, unswept)]
            if covered:
                self._store.append([], [Delete(key) for key in covered])
            # Only now: what could not be deleted is met again.
            self._cursor = page[-1][0]
            if self._late():
                return
        self._sweeping = {}
        if self._unread:
            return
        for seq in unswept:
            done = FeedEntry("swept", self._clock.time(), value=float(seq))
            longest = self.follower.view.longest(done.at)
            self._store.append([done.entry(longest, f"swept-{seq}")])

    def _covered(self, record: Record, unswept: Mapping[int, FeedEntry]) -> bool:
        try:
            token = from_record(record.value, None)
        except NewerForm:
            # It may be covered: who can read it has to finish this.
            self._unread = True
            return False
        except ValueError:
            return False  # nobody's token
        return any(mark_covers(seq, feed_entry, token) for seq, feed_entry in unswept.items())

    def sweep_locks(self) -> int:
        """Trim locks that had no end of their own and stand no more, and then their unlocks.

        First the entry goes, then it is said that it went: whoever joins in between reads neither,
        and an unlock goes only when nobody knows of a lock before it any more.
        """
        view, now = self.follower.view, self._clock.time()
        memory = view.longest(now) + BEYOND
        if not self._locks_over(memory, now - DAY):
            return 0
        doomed = self._locks_over(memory, self.over())
        for start in range(0, len(doomed), AT_ONCE):
            some = doomed[start : start + AT_ONCE]
            self._store.trim(some)
            swept = [FeedEntry("swept", now, value=float(one)) for one in some]
            longest = view.longest(now)
            self._store.append(
                [one.entry(longest, f"swept-{int(one.value)}") for one in swept], self._guard
            )
            if self._late():
                break
        return len(doomed)

    def _locks_over(self, memory: float, before: float) -> list[int]:
        view = self.follower.view
        with view.lock:
            # (An own unlock may be known ahead of a lock that stands before it.)
            return [one for one in view.locks.over(memory, before) if one <= view.applied]

    def sweep_nodes(self) -> list[str]:
        """Remove entries that stood still for longer than their own lease; by our own clock."""
        now = self._clock.monotonic()
        present = {one.node_id: one for one in self._store.nodes()}
        gone = []
        for node_id, one in present.items():
            version, since = self._stood.get(node_id, (-1, now))
            if version != one.version:
                self._stood[node_id] = (one.version, now)
            elif now - since > _lingers(Node.decode(one)) and self._store.withdraw(node_id, one):
                # (Only as it was seen: a node that was frozen may be back this very moment.)
                gone.append(node_id)
        self._stood = {key: value for key, value in self._stood.items() if key in present}
        return gone


def _lingers(node: Node) -> float:
    """Seconds for which a silent entry stays. Who accepts while stale may still be at it."""
    return DAY if node.accepts_when_stale else node.max_staleness + QUIET
