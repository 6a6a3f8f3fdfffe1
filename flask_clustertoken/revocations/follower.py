"""Follower: keeps a node's view current from the feed, and says for how long it is vouched for.

Everything here is a step: :meth:`Follower.step` does one round against any store and says when
to call again. A test calls it with a clock that it moves; in production a small thread does.

The lease begins at the *start* of the last confirmed contact. One contact is: rewrite our own
presence entry, read the feed's head behind that write, and apply everything up to it. Whoever
lists the nodes after that write sees us; whoever appended before it is in our view.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import isnan, nan
from typing import Protocol, TypeVar

from ..backoff import Backoff, share
from ..clock import SKEW, Clock
from ..errors import ConfigurationError, NotAnnounced, StoreError, StoreNotOpen, StoreUnavailable
from ..events import Events, NodeFresh, NodeStale
from ..stores.base import FORMAT, ClusterStore, Entry
from .entry import LIFETIME_ANNOUNCED, Notice
from .reader import ROLLED_BACK, Hooks, Reader, UnreadableEntry

logger = logging.getLogger("flask_clustertoken")

T = TypeVar("T")

#: "Never": a lease that is over before it began.
NEVER_FRESH = float("-inf")

#: Seconds within which a store that was in trouble is asked again, for the first time; the bound
#: doubles with each failure, up to this share of ``MAX_STALENESS``. (Nobody but this host's
#: processes asks an embedded store: there it stays as it is.)
RETRY_AFTER = 0.5
LONGEST_RETRY = 1 / 3

#: A vouch is due after a third of ``MAX_STALENESS``, less up to this part of it.
SPREAD = 0.2

#: Seconds between two steps that requests make because the view is stale, at least.
TRY_AGAIN = 0.1

#: Seconds for which first sights are refused at most, after others came to nothing.
LONGEST_LOOK = 2.0

#: Seconds that a request waits for a step that another thread is just doing.
STEP_PATIENCE = 1.0

#: Seconds for which a node with ``WHEN_STALE="accept"`` goes on by what it knew last. The
#: others keep its entry for a day: who is not in the list accepts nothing.
GOES_ON = 23 * 3600.0

#: Seconds that a step may spend on what can wait.
PATIENCE_FOR_WORK = 1.0


class Describe(Protocol):
    """Says what this node publishes, as it is at the moment."""

    def __call__(self, follower: Follower) -> bytes: ...


class Follower(Reader):
    """One node's part in the cluster. Made in the process that uses it, after any fork."""

    def __init__(
        self,
        store: ClusterStore,
        *,
        clock: Clock,
        events: Events,
        describe: Describe,
        hooks: Hooks,
        max_staleness: float,
        lifetime: float,
    ) -> None:
        super().__init__(store, events=events, hooks=hooks)
        #: 128 random bits: a restarted process, or a fork's child, is another node.
        self.node_id = secrets.token_hex(16)
        #: By the monotonic clock: until then the view is vouched for.
        self.lease_end = NEVER_FRESH
        self.wake = threading.Event()
        #: When the wall clock began to agree with the store's, by the monotonic clock.
        self.steady_since = clock.monotonic()
        self._clock = clock
        self._describe = describe
        self._max_staleness = max_staleness
        self._lifetime = lifetime
        self._announced = False
        self._withdrawn = False
        self._was_fresh = False
        self._answered = 0
        self._next_vouch = NEVER_FRESH
        self._confirmed_at = NEVER_FRESH
        self._tried = NEVER_FRESH
        longest = RETRY_AFTER if store.embedded else max_staleness * LONGEST_RETRY
        self._backoff = Backoff(RETRY_AFTER, longest)
        #: Seconds after the last step before which no request makes another.
        self._pause = TRY_AGAIN
        self._looks = Backoff(TRY_AGAIN, LONGEST_LOOK, free=2)
        self._no_look_until = NEVER_FRESH
        self._offset = clock.time() - clock.monotonic()
        #: Wall clock minus monotonic clock; no number while the wall clock is not believed.
        self.offset = self._offset
        self._store_ahead: float | None = None
        self._lease_lock = threading.Lock()
        self._lifetime_until = 0.0
        #: The announcement of our lifetime that was met in the feed last, and its number.
        self._lifetime_met = (0, 0.0)
        #: A node's own part of the time in which the next one is due: the first does it for all.
        self._lifetime_early = LIFETIME_ANNOUNCED / 2 - share(LIFETIME_ANNOUNCED / 4)
        #: The store said something that this node cannot go by: sealed, or not understood.
        self._of_no_use = False
        self._later: deque[Callable[[], None]] = deque(maxlen=1000)
        self._step_lock = threading.Lock()

    # what others ask

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
            and self._announced
            and not (self._of_no_use or self.view.broken or self.rolled_back or self._withdrawn)
        )

    @property
    def clock_steady(self) -> bool:
        """Whether the wall clock agreed with the store's, and was not set since.

        While it is not, nobody may judge an expiry by it, or make one.
        """
        return self.steady_at(self._clock.time(), self._clock.monotonic())

    def steady_at(self, now: float, monotonic: float) -> bool:
        """:attr:`clock_steady`, for whoever has read both clocks just now."""
        return -SKEW <= now - monotonic - self.offset <= SKEW

    @property
    def backing_off(self) -> bool:
        """Whether the last step came to nothing: the next one waits until it is due."""
        return self._backoff.failing

    def store_time(self) -> float:
        """The time of day, by the store's clock where that is ahead of ours.

        A revocation is remembered from here on: written by a node whose clock is an hour
        slow, it must not be forgotten an hour early.
        """
        now = max(self._clock.time(), self.view.applied / 1e6)
        if self._store_ahead is not None:
            now = max(now, self._clock.monotonic() + self._store_ahead)
        return now

    def past(self) -> float:
        """A time of day that the store's clock has surely reached: for whoever deletes.

        By the monotonic clock since the last contact, so that a wall clock which was set
        a moment ago deletes nothing. (A command line that is no node has only its own.)
        """
        if self._store_ahead is None:
            return self._clock.time()
        return min(self._clock.time(), self._clock.monotonic() + self._store_ahead)

    def soon(self, work: Callable[[], None]) -> None:
        """Do *work* in a later step: for what may wait and may be lost (coarse last use)."""
        self._later.append(work)
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

    def look(self, ask: Callable[[], T]) -> T:
        """The answer of the store to *ask*, for a request that has to know something.

        Where such looks came to nothing a moment ago it raises :class:`StoreUnavailable` at
        once: requests keep coming, and each would ask a slow store for as long as it may.
        """
        if self._clock.monotonic() < self._no_look_until:
            raise StoreUnavailable("the store did not answer a moment ago")
        try:
            found = ask()
        except StoreUnavailable:
            self._no_look_until = self._clock.monotonic() + self._looks.next()
            raise
        self._looks.reset()
        return found

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
            self._check_clock()
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
            self._announced = False
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
        self._pause = max(TRY_AGAIN, delay)
        return delay

    def confirm_contact(self) -> None:
        """One contact: root, own entry, the head behind that write, all up to it, the lease."""
        start = self._clock.monotonic()
        self._check_root()
        if not self._announced and not self._withdrawn:
            self.store.announce(self.node_id, self._describe(self))
            self._announced = True
        answered = self.view.applied
        vouched = self.store.vouch(self.node_id, self._describe(self))
        self._answered = answered
        self._store_ahead = vouched.time - self._clock.monotonic()
        if abs(vouched.time - self._clock.time()) > SKEW:
            self.offset = nan
            self._distrust(f"its clock differs from the store's by more than {SKEW:.0f} s")
            return
        self.offset = self._offset
        found = self.follow()
        # (Taken before the head is asked for: other threads read on meanwhile.)
        era, applied = self.era, self.view.applied
        if vouched.seq < applied and self.store.head() < applied:
            self._lost(applied, era)
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
            self._announce_lifetime()
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
            self.store.vouch(self.node_id, self._describe(self))

    def _prolong(self, end: float) -> None:
        """Set the lease's end, unless another thread has found out why not meanwhile."""
        with self._lease_lock:
            if not (self._withdrawn or self.rolled_back or self.view.broken):
                self.lease_end = end

    def _void(self, why: str) -> None:
        with self._lease_lock:
            self.lease_end = NEVER_FRESH
        super()._void(why)

    def _replaced(self) -> None:
        self._announced = False
        self._lifetime_until = 0.0
        self._lifetime_met = (0, 0.0)

    def _check_root(self) -> None:
        root = self.store.root()
        if root.format > FORMAT:
            raise StoreNotOpen(f"the store has form {root.format}; a newer version is needed")
        if root.state == "sealed":
            self._leave()
            raise StoreNotOpen(
                f"the store was sealed: its contents moved to {root.moved_to or 'another one'}; "
                "set STORE to it and restart"
            )
        if root.state != "open":
            raise StoreNotOpen("the store is still being filled by a migration")
        self.meet(root.epoch)

    def _leave(self) -> None:
        """The store was sealed: a migration waits for whoever may still accept tokens."""
        self.lease_end = NEVER_FRESH
        if self._announced:
            with suppress(StoreError):
                self.store.withdraw(self.node_id)
                self._announced = False

    def _check_clock(self) -> None:
        offset = self._clock.time() - self._clock.monotonic()
        jumped = abs(offset - self._offset) > SKEW
        self._offset = offset
        if not isnan(self.offset):
            self.offset = offset
        if jumped:
            self._distrust("its clock jumped")

    def _distrust(self, why: str) -> None:
        """Be stale, say so, and rebuild the view at the next contact."""
        if self.trouble != why:
            logger.warning("this node is stale: %s", why)
        self._void(why)
        self.steady_since = self._clock.monotonic()
        self._next_vouch = NEVER_FRESH
        self._hooks.forget()
        self._begin_anew()

    def _announce_lifetime(self) -> None:
        """Say how long tokens made here may live, before one is made with it."""
        now = self._clock.time()
        number, until = self._lifetime_met
        if number <= self.view.applied:
            # What another node has announced holds for this one as well.
            self._lifetime_until = max(self._lifetime_until, until)
        if now < self._lifetime_until - self._lifetime_early:
            return
        day = int(now // (LIFETIME_ANNOUNCED / 2))
        at = day * LIFETIME_ANNOUNCED / 2
        notice = Notice("lifetime", at, value=float(self._lifetime))
        seq = self.store.append([notice.entry(0.0, f"lifetime-{int(self._lifetime)}-{day}")])[0]
        if seq > self.view.applied:
            self.follow()
        if seq <= self.view.applied:
            self._lifetime_until = at + LIFETIME_ANNOUNCED

    def _read(self, entry: Entry, notice: Notice) -> None:
        if notice.kind == "lifetime" and notice.value == self._lifetime:
            self._lifetime_met = (entry.seq, notice.at + LIFETIME_ANNOUNCED)

    def lifetime_announced(self) -> bool:
        """Whether the view stands behind an announcement of our lifetime that still holds.

        A mark is remembered for as long as the longest lifetime that was announced before it;
        a token that lives longer than what was announced would outlive its revocation.
        """
        if self._clock.time() >= self._lifetime_until:
            self._announce_lifetime()
        return self._clock.time() < self._lifetime_until

    def _work(self) -> None:
        end = self._clock.monotonic() + PATIENCE_FOR_WORK
        if self.fresh:
            end = min(end, self._next_vouch)
        for _ in range(len(self._later)):
            if self._clock.monotonic() >= end:
                # The rest in later steps: a slow store must not cost the lease as well.
                self.wake.set()
                break
            work = self._later.popleft()
            try:
                work()
            except Exception:
                logger.debug("work that may be lost was lost", exc_info=True)
        try:
            self._hooks.chores()
        except (StoreError, ConfigurationError):
            # The contact was confirmed; what was left undone is tried again.
            logger.debug("the chores were left undone", exc_info=True)

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
        if self._announced:
            self._announced = False
            self.store.withdraw(self.node_id)
