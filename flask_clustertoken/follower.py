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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from .clock import SKEW, Clock
from .errors import ConfigurationError, NotAnnounced, StoreError, StoreNotOpen
from .events import Events, NodeFresh, NodeStale, RevocationApplied
from .notices import LIFETIME_ANNOUNCED, REVOKING, Notice
from .revocations import View, mark_covers
from .stores.base import FORMAT, Batch, ClusterStore, Entry

logger = logging.getLogger("flask_clustertoken")

#: "Never": a lease that is over before it began.
NEVER_FRESH = float("-inf")

ROLLED_BACK = "the store was rolled back; after a restore run: flask tokens restored"

#: Seconds before a store that was in trouble is asked again.
RETRY_AFTER = 0.5

#: Seconds between two steps that requests make because the view is stale.
TRY_AGAIN = 0.1

#: Seconds that a request waits for a step that another thread is just doing.
STEP_PATIENCE = 1.0

#: Seconds for which a node with ``WHEN_STALE="accept"`` goes on by what it knew last. The
#: others keep its entry for a day: who is not in the list accepts nothing.
GOES_ON = 23 * 3600.0

#: Seconds that a step may spend on what can wait.
PATIENCE_FOR_WORK = 1.0

#: Pages of the feed read in one go; what is left is read in the next step.
PAGES_AT_ONCE = 10_000

#: Times that a snapshot starts over because the store was replaced, or doubted, meanwhile.
SNAPSHOTS = 3


#: The number of a revocation, and what it says.
Learnt = tuple[int, Notice]


class Describe(Protocol):
    """Says what this node publishes, as it is at the moment."""

    def __call__(self, follower: Follower) -> bytes: ...


class UnreadableEntry(StoreError):
    """The feed holds an entry that this version does not understand."""


@dataclass(slots=True)
class Hooks:
    """What the follower tells its owner, at once and from whichever thread did the step."""

    #: Remembered positive answers must be asked again.
    forget: Callable[[], None]
    #: The states of the keys may have changed.
    keys: Callable[[], None]
    #: The store's epoch, at each contact.
    epoch: Callable[[str], None]
    #: The end of a step: what may be done now and then.
    chores: Callable[[], None]


class Follower:
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
        self.store = store
        self.view = View()
        #: 128 random bits: a restarted process, or a fork's child, is another node.
        self.node_id = secrets.token_hex(16)
        #: By the monotonic clock: until then the view is vouched for.
        self.lease_end = NEVER_FRESH
        #: The highest number met anywhere, also inside a token.
        self.seen = 0
        #: Why the view is not vouched for, as far as known.
        self.trouble = "not started"
        self.wake = threading.Event()
        #: When the wall clock began to agree with the store's, by the monotonic clock.
        self.steady_since = clock.monotonic()
        self._clock = clock
        self._events = events
        self._describe = describe
        self._hooks = hooks
        self._max_staleness = max_staleness
        self._lifetime = lifetime
        self._announced = False
        self._withdrawn = False
        self._was_fresh = False
        self._rolled_back = 0
        self._answered = 0
        self._keys_seen = 0
        self._epoch = ""
        self._next_vouch = NEVER_FRESH
        self._confirmed_at = NEVER_FRESH
        self._tried = NEVER_FRESH
        self._offset = clock.time() - clock.monotonic()
        self._disagrees = False
        self._store_ahead: float | None = None
        self._lease_lock = threading.Lock()
        self._lifetime_until = 0.0
        #: The number up to which listeners were told, and numbers beyond it that they know.
        self._told = 0
        self._ahead: set[int] = set()
        #: Moves when our position was given up.
        self._era = 0
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
        return -SKEW <= now - monotonic - self._offset <= SKEW and not self._disagrees

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

    @property
    def rolled_back(self) -> bool:
        """The store has lost entries that were known, and nobody has said that it was restored."""
        return self._rolled_back > self.view.restored

    def soon(self, work: Callable[[], None]) -> None:
        """Do *work* in a later step: for what may wait and may be lost (coarse last use)."""
        self._later.append(work)
        self.wake.set()

    def met(self, seq: int) -> None:
        """A token carries number *seq*: it may be ahead of this node."""
        self.seen = max(self.seen, seq)

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
        return not 0 <= self._clock.monotonic() - self._tried < TRY_AGAIN

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
                self._confirm()
            else:
                self.follow()
                if self.view.barrier > self._answered:
                    self._confirm()
            self._work()
        except NotAnnounced:
            # Swept or removed by hand: whoever listed the nodes since did not see us.
            self.lease_end = NEVER_FRESH
            self._announced = False
            self.trouble = "its entry in the list of nodes was removed"
            return 0.0
        except (StoreError, ConfigurationError) as error:
            if isinstance(error, StoreNotOpen | UnreadableEntry):
                self.lease_end = NEVER_FRESH
                self._of_no_use = True
            self.trouble = str(error) or type(error).__name__
            self._next_vouch = NEVER_FRESH
            return RETRY_AFTER
        if not self.fresh:
            return RETRY_AFTER
        due = self._next_vouch - self._clock.monotonic()
        look = self.store.look_every
        return max(0.0, due if look is None else min(due, look))

    def _confirm(self) -> None:
        start = self._clock.monotonic()
        self._check_root()
        if not self._announced and not self._withdrawn:
            self.store.announce(self.node_id, self._describe(self))
            self._announced = True
        answered = self.view.applied
        vouched = self.store.vouch(self.node_id, self._describe(self))
        self._answered = answered
        self._store_ahead = vouched.time - self._clock.monotonic()
        self._disagrees = abs(vouched.time - self._clock.time()) > SKEW
        if self._disagrees:
            self._distrust(f"its clock differs from the store's by more than {SKEW:.0f} s")
            return
        self.follow()
        # (Taken before the head is asked for: other threads read on meanwhile.)
        era, applied = self._era, self.view.applied
        if vouched.seq < applied and self.store.head() < applied:
            self._lost(applied, era)
        self._extend(start, vouched.seq)

    def _extend(self, start: float, seq: int) -> None:
        self._next_vouch = start + self._max_staleness / 3
        if self.view.broken or self.rolled_back or self.view.applied < seq or self._withdrawn:
            self.lease_end = NEVER_FRESH
            self.trouble = self.view.broken or (
                ROLLED_BACK if self.rolled_back else "it could not read the feed to its end"
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
        """Set the lease's end, unless another thread gave it up for good meanwhile."""
        with self._lease_lock:
            if not self._withdrawn:
                self.lease_end = end

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

    def meet(self, epoch: str) -> None:
        """Take notice of the store's epoch: at the start, and where it is not the one known."""
        if epoch == self._epoch:
            return
        # First of all: whoever reads on in that store from here on judges by its epoch.
        self._hooks.epoch(epoch)
        if self._epoch:
            logger.error(
                "the cluster store was replaced by another one; tokens of the old one are refused"
            )
            self._begin_anew()
            self._rolled_back = 0
            self._announced = False
            self._lifetime_until = 0.0
        self._hooks.forget()
        self._hooks.keys()
        self._epoch = epoch

    def _check_clock(self) -> None:
        offset = self._clock.time() - self._clock.monotonic()
        jumped = abs(offset - self._offset) > SKEW
        self._offset = offset
        if jumped:
            self._distrust("its clock jumped")

    def _distrust(self, why: str) -> None:
        """Be stale, say so, and rebuild the view at the next contact."""
        if self.trouble != why:
            logger.warning("this node is stale: %s", why)
        self.lease_end = NEVER_FRESH
        self.trouble = why
        self.steady_since = self._clock.monotonic()
        self._next_vouch = NEVER_FRESH
        self._hooks.forget()
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Give our position up: the feed is read from its start, and what is known is kept."""
        with self.view.lock:
            # (A reading that is under way in another thread moves nothing any more.)
            self._era += 1
            self.view.begin_anew()

    def _announce_lifetime(self) -> None:
        """Say how long tokens made here may live, before one is made with it."""
        now = self._clock.time()
        if now < self._lifetime_until - LIFETIME_ANNOUNCED / 2:
            return
        day = int(now // (LIFETIME_ANNOUNCED / 2))
        at = day * LIFETIME_ANNOUNCED / 2
        notice = Notice("lifetime", at, value=float(self._lifetime))
        seq = self.store.append([notice.entry(0.0, f"lifetime-{int(self._lifetime)}-{day}")])[0]
        if seq > self.view.applied:
            self.follow()
        if seq <= self.view.applied:
            self._lifetime_until = at + LIFETIME_ANNOUNCED

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

    # reading the feed

    def follow(self) -> None:
        """Read and apply what is new. Any thread may; none holds a lock while the store works."""
        with self.view.lock:
            era, after = self._era, self.view.applied
        if after == 0:
            self._snapshot()
            return
        for _ in range(PAGES_AT_ONCE):
            batch = self.store.read(after)
            if self._gap(after, batch, era):
                self._snapshot()
                return
            learnt = self._learn_page(batch)
            after = batch.seq
            self._reach(after, era, learnt)
            if not batch.more:
                break
        if self.view.broken:
            self.lease_end = NEVER_FRESH
            self.trouble = self.view.broken

    def _gap(self, after: int, batch: Batch, era: int) -> bool:
        """Whether something between *after* and this page is missing here."""
        position = after
        for entry in batch.entries:
            if entry.prev < after:
                # The store's history does not contain our position.
                self._lost(after, era)
                return True
            if entry.prev != position:
                return True
            position = entry.seq
        return batch.floor > after and batch.floor > position

    def _snapshot(self) -> None:
        """Merge everything that stands in the feed into the view; forget remembered answers."""
        for _ in range(SNAPSHOTS):
            era = self._era
            after, learnt = self._read_all()
            # Asked behind the last page: a store that took the old one's place goes on from its
            # number and lacks its revocations, so tokens of the old one must not be judged by it.
            self.meet(self.store.root().epoch)
            if era == self._era:
                break
        else:
            raise StoreError("the store is being replaced all the time")
        if after:
            self._hooks.forget()
        self._reach(after, era, learnt)

    def _read_all(self) -> tuple[int, list[Learnt]]:
        after = 0
        learnt: list[Learnt] = []
        for _ in range(PAGES_AT_ONCE):
            batch = self.store.read(after)
            learnt += self._learn_page(batch)
            after = batch.seq
            if not batch.more:
                return after, learnt
        raise StoreError("the feed is longer than this node can read")

    def _learn_page(self, batch: Batch) -> list[Learnt]:
        """Take in a page; what of it the listeners are to be told once the position has moved.

        Who only just starts tells nobody of what happened before: it has served nobody yet.
        """
        telling = self._told > 0 and self._events.heard(RevocationApplied)
        learnt = []
        for entry in batch.entries:
            notice = self._learn(entry)
            if telling and notice.kind in REVOKING and entry.seq > self._told:
                learnt.append((entry.seq, notice))
        changed = self.view.keys_changed
        if changed > self._keys_seen:
            # Before the position moves: a key that was dropped must not verify for a thread
            # that finds nothing left to read. A store in trouble is asked again.
            self._hooks.keys()
            self._keys_seen = changed
        return learnt

    def _reach(self, seq: int, era: int, learnt: Sequence[Learnt] = ()) -> None:
        """Move the position, and tell the listeners, each of them of each revocation once."""
        with self.view.lock:
            new = [one for one in learnt if one[0] > self._told and one[0] not in self._ahead]
            if era == self._era:
                self.view.applied = max(self.view.applied, seq)
                self._told = max(self._told, seq)
                self._ahead = {one for one in self._ahead if one > self._told}
            else:
                self._ahead.update(one[0] for one in new)
        self.seen = max(self.seen, seq)
        for one in new:
            self._tell(*one)

    def _tell(self, seq: int, notice: Notice) -> None:
        # Outside all locks: a listener may judge tokens, and read on in doing so.
        self._events.announce(
            RevocationApplied(seq, notice, lambda token: mark_covers(seq, notice, token))
        )

    def _learn(self, entry: Entry) -> Notice:
        try:
            notice = Notice.decode(entry.body)
            self.view.learn(entry, notice)
            return notice
        except Exception as error:
            # Whatever it is that fails: what cannot be learnt is not skipped.
            raise UnreadableEntry(
                f"entry {entry.seq} of the feed cannot be read by this version: "
                f"{str(error) or type(error).__name__}"
            ) from error

    def learn_own(self, entry: Entry, notice: Notice) -> None:
        """Take in an entry of our own that was just acknowledged.

        It never moves the position: entries before it may still be unread.
        """
        # (Taken in again in its place: a longer lifetime may have been announced before it,
        # and then it is remembered for longer.)
        with self.view.lock:
            if entry.seq <= self.view.applied:
                return
            self.view.learn(entry, notice)
            new = entry.seq > self._told and entry.seq not in self._ahead
            self._ahead.add(entry.seq)
        if new and notice.kind in REVOKING:
            self._tell(entry.seq, notice)

    def _lost(self, seq: int, era: int) -> None:
        if era != self._era:
            return  # what lacks it is another store than the one it was read from
        if seq > self._rolled_back:
            logger.error(
                "the cluster store was rolled back: it does not know number %d any more; this "
                "node refuses until 'flask tokens restored' was run",
                seq,
            )
        self._rolled_back = max(self._rolled_back, seq)
        self._lifetime_until = 0.0
        self.seen = max(self.seen, seq)
        self.lease_end = NEVER_FRESH
        self.trouble = ROLLED_BACK

    def reach(self, seq: int) -> bool:
        """Read on until the view stands at *seq*; ``False`` where the store does not have it.

        ``False`` too where it was read that the store is sealed: whoever asks has taken a lease
        of before.
        ``False`` after a look behind a write of our own means that the store was rolled back.
        """
        era = self._era
        if self.view.applied < seq:
            self.follow()
        if self.view.applied >= seq:
            return not self.view.broken
        if self.store.head() < seq:
            self._lost(seq, era)
            return False
        self.follow()
        return self.view.applied >= seq and not self.view.broken

    # coming and going

    def note_state(self) -> None:
        """Say so once when the view becomes fresh or stale."""
        fresh = self.fresh
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


class FollowerThread:
    """The thread around a follower: wait, step, wait."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._stopped = False
        self._watching = False
        self._thread = threading.Thread(target=self._run, name="clustertoken-follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        delay = 0.0
        while self._waited(delay):
            try:
                self._watch()
                delay = self._follower.step()
            except Exception:
                if self._stopped:  # the store was closed under this very step
                    return
                # A thread that died would make the node stale without a word.
                logger.exception("the follower failed; it goes on")
                delay = RETRY_AFTER

    def _watch(self) -> None:
        """Ask to be woken, as soon as the store can be asked for that."""
        if not self._watching:
            try:
                self._follower.store.watch(self._follower.wake.set)
                self._watching = True
            except StoreError:
                logger.debug("the store cannot be watched yet", exc_info=True)

    def _waited(self, delay: float) -> bool:
        self._follower.wake.wait(delay)
        self._follower.wake.clear()
        return not self._stopped

    def stop(self) -> None:
        self._stopped = True
        self._follower.wake.set()
