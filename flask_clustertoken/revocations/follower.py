"""Follower: keeps a node's view current from the feed, and says for how long it is vouched for.

Everything here is a step: :meth:`Follower.step` does one round against any store and says when
to call again. A test calls it with a clock that it moves; in production a small thread does.

The lease begins at the *start* of the last confirmed contact. One contact is: rewrite our own
presence entry, read the feed's head behind that write, and apply everything up to it. Whoever
lists the nodes after that write sees us; whoever appended before it is in our view.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from ..backoff import Backoff, share
from ..clock import SKEW, Clock
from ..errors import ConfigurationError, NotAnnounced, StoreError, StoreNotOpen, StoreUnavailable
from ..events import Events, NodeFresh, NodeStale
from ..stores import time_of
from ..stores.base import ClusterStore
from .announcing import Announcing
from .clocks import CheckedClock
from .deferred import Deferred
from .looks import Looks
from .own_entry import OwnEntry
from .reader import ROLLED_BACK, Hooks, Reader, UnreadableEntry, refuse_unusable

logger = logging.getLogger("flask_clustertoken")

#: "Never": a lease that is over before it began.
NEVER_FRESH = float("-inf")

#: Seconds within which a store that was in trouble is asked again, for the first time; the bound
#: doubles with each failure, up to this share of ``MAX_STALENESS``. (Nobody but this host's
#: processes asks an embedded store: there it stays as it is.)
RETRY_AFTER = 0.5
LONGEST_RETRY = 1 / 3

#: And no longer than this, in seconds: where a history was lost, the others wait for whoever knows
#: more of it (``settle`` of the Redis store, which is longer).
LONGEST_PAUSE = 3.0

#: A vouch is due after a third of ``MAX_STALENESS``, less up to this part of it.
SPREAD = 0.2

#: Seconds between two steps that requests make because the view is stale, at least.
TRY_AGAIN = 0.1

#: Seconds that a request waits for a step that another thread is just doing.
STEP_PATIENCE = 1.0

#: Seconds for which a node with ``WHEN_STALE="accept"`` goes on by what it knew last. The
#: others keep its entry for a day: who is not in the list accepts nothing.
GOES_ON = 23 * 3600.0


class Follower:
    """One node's part in the cluster. Made in the process that uses it, after any fork.

    *describe* gives what the node publishes; *maintenance* is called at the end of each step
    that came to something, for what is done now and then.
    """

    def __init__(
        self,
        store: ClusterStore,
        *,
        clock: Clock,
        events: Events,
        describe: Callable[[Follower], bytes],
        hooks: Hooks,
        maintenance: Callable[[], None],
        max_staleness: float,
        lifetime: float,
    ) -> None:
        self.store = store
        self.reader = reader = Reader(store, events=events, hooks=hooks, void=self._void)
        self.view = reader.view
        #: What others ask of the reading.
        self.meet, self.met, self.follow = reader.meet, reader.met, reader.follow
        self.reach, self.learn_own = reader.reach, reader.learn_own
        self.clocks = CheckedClock(clock)
        self.past = self.clocks.past
        self._announcing = Announcing(reader, clock=clock, lifetime=lifetime)
        self.lifetime_announced = self._announcing.holds
        self._deferred = Deferred(clock)
        self.look = Looks(clock, embedded=store.embedded).look
        self._entry = OwnEntry(reader, lambda: describe(self))
        self.node_id = self._entry.node_id
        #: Why the view is not vouched for, as far as known.
        self.trouble = "not started"
        #: By the monotonic clock: until then the view is vouched for.
        self.lease_end = NEVER_FRESH
        self.wake = threading.Event()
        self._clock = clock
        self._hooks = hooks
        self._events = events
        self._maintenance = maintenance
        self._max_staleness = max_staleness
        self._withdrawn = False
        self._was_fresh = False
        self._answered = 0
        self._next_vouch = NEVER_FRESH
        self._confirmed_at = NEVER_FRESH
        self._tried = NEVER_FRESH
        longest = (
            RETRY_AFTER if store.embedded else min(max_staleness * LONGEST_RETRY, LONGEST_PAUSE)
        )
        self._backoff = Backoff(RETRY_AFTER, longest)
        #: Seconds after the last step before which no request makes another.
        self._pause = TRY_AGAIN
        self._lease_lock = threading.Lock()
        #: The store said something that this node cannot go by: sealed, or not understood.
        self._of_no_use = False
        self._step_lock = threading.Lock()

    # what others ask

    @property
    def seen(self) -> int:
        """The highest number of the feed met anywhere, also inside a token."""
        return self.reader.seen

    @property
    def rolled_back(self) -> bool:
        """The store has lost entries that were known, and nobody has said that it was restored."""
        return self.reader.rolled_back

    @property
    def fresh(self) -> bool:
        return self._clock.monotonic() < self.lease_end

    @property
    def staleness(self) -> float | None:
        """Seconds since the start of the last confirmed contact; ``None`` if there was none."""
        if self._confirmed_at == NEVER_FRESH:
            return None
        return self._clock.monotonic() - self._confirmed_at

    @property
    def next_contact(self) -> float:
        """When the view is to be vouched for anew, by the monotonic clock."""
        return self._next_vouch

    @property
    def may_go_on(self) -> bool:
        """Whether ``WHEN_STALE="accept"`` may go by this view although nobody vouches for it.

        Not where it was never filled, nor where it is known to be of no use any more, nor for
        longer than the others keep this node in their list.
        """
        staleness = self.staleness
        return (
            staleness is not None
            and staleness < GOES_ON
            and self._entry.listed
            and not (self._of_no_use or self.view.broken or self.rolled_back or self._withdrawn)
        )

    @property
    def clock_steady(self) -> bool:
        """Whether the wall clock agreed with the store's, and was not set since."""
        return self.clocks.steady

    @property
    def backing_off(self) -> bool:
        """Whether the last step came to nothing: the next one waits until it is due."""
        return self._backoff.failing

    def store_time(self) -> float:
        """The time of day, by the store's clock where that is ahead of ours.

        A revocation is remembered from here on: written by a node whose clock is an hour
        slow, it must not be forgotten an hour early.
        """
        return max(self.clocks.latest(), time_of(self.view.applied))

    def soon(self, work: Callable[[], None]) -> None:
        """Do *work* in a later step: for what may wait and may be lost (coarse last use)."""
        self._deferred.add(work)
        self.wake.set()

    # one round

    def step(self) -> float:
        """Do what is due; returns the seconds after which to call again at the latest."""
        if not self._step_lock.acquire(timeout=STEP_PATIENCE):
            return RETRY_AFTER
        try:
            delay = self._step()
        finally:
            self._step_lock.release()
        self.note_state()
        return delay

    def step_now(self) -> None:
        """A step in the thread of a request, where the view is not vouched for any more.

        A step that is under way is waited for instead, and one that just failed is not
        repeated by each request.
        """
        if not self._is_due() and not self._step_lock.locked():
            return
        if not self._step_lock.acquire(timeout=STEP_PATIENCE):
            return
        try:
            if self._is_due():
                self._step()
        finally:
            self._step_lock.release()
        self.note_state()

    def _is_due(self) -> bool:
        if self.fresh and self.clock_steady:
            return False
        return not 0 <= self._clock.monotonic() - self._tried < self._pause

    def _step(self) -> float:
        if self._withdrawn:
            return self._max_staleness
        self._tried = self._clock.monotonic()
        try:
            return self._round()
        finally:
            self._tried = self._clock.monotonic()

    def _round(self) -> float:
        try:
            if self.clocks.jumped():
                self._distrust("its clock jumped")
            if self.store.embedded:
                self._check_root()
            if self._clock.monotonic() >= self._next_vouch or not self.fresh:
                self.confirm_contact()
            else:
                self.follow()
                if self.view.barrier > self._answered:
                    self.confirm_contact()
            self._work()
        except NotAnnounced:
            # Swept or removed by hand: whoever listed the nodes since did not see us.
            self.lease_end = NEVER_FRESH
            self._entry.was_removed()
            self.trouble = "its entry in the list of nodes was removed"
            first = not self.backing_off
            delay = self._again_in()
            return 0.0 if first else delay
        except (StoreError, ConfigurationError) as error:
            if isinstance(error, StoreNotOpen | UnreadableEntry):
                self.lease_end = NEVER_FRESH
                self._of_no_use = True
            self.trouble = str(error) or type(error).__name__
            self._next_vouch = NEVER_FRESH
            return self._again_in()
        if not self.fresh:
            return self._again_in()
        self._backoff.reset()
        self._pause = TRY_AGAIN
        due = self._next_vouch - self._clock.monotonic()
        look = self.store.look_every
        return max(0.0, due if look is None else min(due, look))

    def _again_in(self) -> float:
        """A step came to nothing: the seconds until the next, also for those that requests make."""
        delay = self._backoff.next()
        if not self.store.embedded:
            # (A store on this host is nobody else's: who looks at it holds up no other host.)
            self._pause = max(TRY_AGAIN, delay)
        return delay

    def confirm_contact(self) -> None:
        """One contact: root, own entry, the head behind that write, all up to it, the lease."""
        start = self._clock.monotonic()
        self._check_root()
        if not self._entry.listed and not self._withdrawn:
            self._entry.make()
        answered = self.view.applied
        vouched = self._entry.rewrite()
        self._answered = answered
        if not self.clocks.agrees(vouched.time):
            self._distrust(f"its clock differs from the store's by more than {SKEW:.0f} s")
            return
        found = self.follow()
        # (Taken before the head is asked for: other threads read on meanwhile.)
        era, known = self.reader.era, self.reader.known
        if vouched.seq < known and self.store.head() < known:
            self.reader.lost(known, era)
        elif not found:
            # (The lease that there is runs on.)
            raise StoreUnavailable("the feed was read where its end is not known yet")
        self.extend_lease(start, vouched.seq)

    def extend_lease(self, start: float, seq: int) -> None:
        """A contact began at *start* and saw the head *seq*: the lease follows, or none does."""
        # (Nodes that came back at the same moment must not go on together.)
        self._next_vouch = start + share(self._max_staleness / 3, 1 - SPREAD)
        if self.view.broken or self.rolled_back or self.view.applied < seq or self._withdrawn:
            self._void(
                self.view.broken
                or (ROLLED_BACK if self.rolled_back else "it could not read the feed to its end")
            )
            return
        try:
            self._announcing.renew()
        except StoreError:
            # A full disk stops logins (see lifetime_announced), not the checking of tokens.
            logger.warning("the lifetime of tokens could not be announced", exc_info=True)
        self.view.expire(self.past())
        self._confirmed_at = start
        self._of_no_use = False
        self.trouble = ""
        self._prolong(start + self._max_staleness)
        if self.view.barrier > self._answered:
            # Answer at once: somebody waits for this node.
            self._answered = self.view.applied
            self._entry.rewrite()

    def _prolong(self, end: float) -> None:
        """Set the lease's end, unless another thread has found out why not meanwhile."""
        with self._lease_lock:
            if not (self._withdrawn or self.rolled_back or self.view.broken):
                self.lease_end = end

    def _void(self, why: str) -> None:
        with self._lease_lock:
            self.lease_end = NEVER_FRESH
        self.trouble = why

    def _check_root(self) -> None:
        root = self.store.root()
        if root.state == "sealed":
            self._leave()
        refuse_unusable(root)
        self.meet(root.epoch)

    def _leave(self) -> None:
        """The store was sealed: a migration waits for whoever may still accept tokens."""
        self.lease_end = NEVER_FRESH
        with suppress(StoreError):
            self._entry.withdraw()

    def _distrust(self, why: str) -> None:
        """Be stale, say so, and rebuild the view at the next contact."""
        if self.trouble != why:
            logger.warning("this node is stale: %s", why)
        self._void(why)
        self.clocks.begin_anew()
        self._next_vouch = NEVER_FRESH
        self._hooks.forget(self.reader.epoch)
        self.reader.begin_anew()

    def _work(self) -> None:
        if not self._deferred.do(self._next_vouch if self.fresh else float("inf")):
            # The rest in later steps: a slow store must not cost the lease as well.
            self.wake.set()
        try:
            self._maintenance()
        except (StoreError, ConfigurationError):
            # The contact was confirmed; what was left undone is tried again.
            logger.debug("the maintenance was left undone", exc_info=True)

    # coming and going

    def note_state(self) -> None:
        """Say so once when the view becomes fresh or stale."""
        fresh = self.fresh
        if fresh == self._was_fresh:
            return
        with self._lease_lock:  # (of two threads that see it, one says it)
            if fresh == self._was_fresh:
                return
            self._was_fresh = fresh
        if fresh:
            logger.info("this node is fresh at %d", self.view.applied)
            self._events.announce(NodeFresh(self.view.applied))
        elif not self._withdrawn:
            why = self.trouble or "no contact with the store was confirmed in time"
            logger.warning("this node is stale: %s", why)
            self._events.announce(NodeStale(why))

    def stop(self) -> None:
        """Give the lease up for good. Touches no store."""
        with self._lease_lock:
            self._withdrawn = True
            self.lease_end = NEVER_FRESH
        self.wake.set()

    def disown(self) -> None:
        """In a fork's child: this is the parent's. Takes no lock, one may be held for ever."""
        self._withdrawn = True
        self.lease_end = NEVER_FRESH

    def withdraw(self) -> None:
        """Give the lease up, then take our entry out of the list."""
        self.stop()
        self._entry.withdraw()
