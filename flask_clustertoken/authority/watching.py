"""Watching: tokens that something lasting was opened with, a stream or a socket.

A token is judged when a request comes in, and a stream is one request that lasts. Here each
process keeps a list of what is open; one thread for all of them looks through it when a
revocation was learnt, and once a second for what time alone ends. Nobody else does anything for
a connection meanwhile: no thread, no call of the store, none for each piece that is sent.

When a connection ends:

- its token is revoked, or was issued before the store was replaced: ``revoked``, at the moment at
  which this node learns it and would refuse a request;
- a lock is for it: ``locked``, at the same moment; its unlock opens no connection again;
- nobody vouches for this node's view any more, or its clock is wrong: ``stale``;
- its token is over: ``expired``. A login that other requests of the same browser renew keeps its
  id and goes on. Those renewals are known from the login's record, which is asked for once, when
  the expiry that was known has passed. Without records (``TOKEN_STORE="cookie"``) no node knows
  what another has renewed: there the connection ends at the latest expiry that this process has
  given, and whoever opens it again brings the renewed cookie along. No renewal leads beyond the
  end of ``ABSOLUTE_LIFETIME``.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Protocol

from .. import forks
from ..clock import Clock
from ..errors import ClusterTokenError, NoThread
from ..events import Events, NodeLeaving, NodeStale, RevocationApplied, TokenRenewed
from ..revocations import Follower
from ..settings import Settings
from ..stores.base import ClusterStore
from ..tokens import Refusal, Token, from_list, spare_of
from .callers import Callers
from .watch import Chunk, OnEnd, Watch, WhileValid

logger = logging.getLogger("flask_clustertoken")

#: Seconds between two looks at what only time ends.
LOOK_EVERY = 1.0

#: Seconds for which the thread stays although nothing is open.
LINGER = 5.0

#: Records that are asked for in one call of the store.
AT_ONCE = 100

_all: weakref.WeakSet[Watching] = weakref.WeakSet()


def _forget_all() -> None:
    for one in list(_all):
        one.forget()


forks.in_child("process", _forget_all)


class Runtime(Protocol):
    """Of this process's part in the cluster, what is needed here."""

    settings: Settings
    clock: Clock
    events: Events

    @property
    def store(self) -> ClusterStore: ...

    def follower(self) -> Follower: ...


class Watching:
    """What is open in this process, and the one thread that looks after it.

    *judge* says whether a token stands, by this node's view. *ends_at* is the wall-clock end of a
    token, *keeps_record* whether the store has a record of it, with *spare* seconds (where the
    record does not say it) for renewals that write nothing.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        judge: Callable[[Token], Token | Refusal],
        ends_at: Callable[[Token], float],
        keeps_record: Callable[[Token], bool],
        spare: float,
    ) -> None:
        self._runtime = runtime
        self._judge = judge
        self._ends_at = ends_at
        self._keeps_record = keeps_record
        self._spare = spare
        self._threaded = True
        self._listening = False
        self._callers = Callers()
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """In a fork's child: the connections are the parent's."""
        self._lock = threading.Lock()
        self._open: dict[str, set[Watch]] = {}
        self._closed: deque[Watch] = deque()
        self._count = 0
        self._thread: threading.Thread | None = None
        self._wake: threading.Event | None = None
        self._callers.forget()

    def step_by_hand(self) -> None:
        """For tests: there are no threads, and whoever calls :meth:`step` does everything."""
        self._threaded = False
        self._callers = Callers(threaded=False)

    def __len__(self) -> int:
        """How many connections are open."""
        return self._count

    # -- for whoever opens one ---------------------------------------------------------

    def watch(self, token: Token, on_end: OnEnd | None = None) -> Watch:
        """A connection that was opened with *token*: see :class:`Watch`."""
        return Watch(token, on_end, self)

    def while_valid(
        self,
        token: Token,
        chunks: Iterable[Chunk],
        last: Callable[[Refusal], Chunk] | None = None,
    ) -> WhileValid[Chunk]:
        """*chunks*, as long as *token* is good; then what *last* makes of the refusal."""
        return WhileValid(self.watch(token), chunks, last)

    def open(self, watch: Watch) -> None:
        try:
            self._open_watched(watch)
        except BaseException:
            # Whoever asked for it is told, and has nothing to close.
            watch.close()
            raise

    def _open_watched(self, watch: Watch) -> None:
        # First into the list, then looked at: a revocation between the two is found by whoever
        # learns it.
        watch.ends_at = self._ends_at(watch.token)
        with self._lock:
            self._open.setdefault(watch.token.id, set()).add(watch)
            self._count += 1
            first = self._count == 1
            listens, self._listening = self._listening, True
        if not listens:
            self._listen()
        self._look_at([watch])
        try:
            self._start()
        except NoThread as error:
            watch.close()
            self._refuse_all(error)
            raise
        if first:
            self.wake()  # (It may be resting for longer.)

    def look(self, watch: Watch) -> None:
        """Look at it now; without a call of the store, save where an embedded one is stale."""
        self._look_at([watch])

    def close(self, watch: Watch) -> None:
        # Waits for nobody: a generator is also closed by the garbage collector, which may run in
        # the middle of what is done here under the lock.
        if self._lock.acquire(blocking=False):
            try:
                self._drop(watch)
            finally:
                self._lock.release()
        else:
            self._closed.append(watch)

    def _drop(self, watch: Watch) -> bool:
        same = self._open.get(watch.token.id, set())
        if watch not in same:
            return False
        same.discard(watch)
        if not same:
            del self._open[watch.token.id]
        self._count -= 1
        return True

    # -- what happens ------------------------------------------------------------------

    def _listen(self) -> None:
        events = self._runtime.events
        for happened in (RevocationApplied, NodeStale, NodeLeaving):
            events.listen(happened, lambda _: self.wake())
        events.listen(TokenRenewed, lambda event: self.renewed(event.token))

    def wake(self) -> None:
        """Something happened: look at once. Holds up nobody."""
        if (wake := self._wake) is not None:
            wake.set()

    def renewed(self, token: Token) -> None:
        """*token* has a later expiry: so has every connection that was opened with it."""
        with self._lock:
            for watch in self._open.get(token.id, ()):
                ends_at = self._ends_at(token)
                if ends_at > watch.ends_at:
                    watch.token, watch.ends_at = token, ends_at

    def step(self) -> float:
        """Look at everything that is open; the seconds until the next look at the latest."""
        with self._lock:
            while self._closed:
                self._drop(self._closed.popleft())
            watches = [one for same in self._open.values() for one in same]
        self._look_at(watches)
        return min(LOOK_EVERY if watches else LINGER, self._callers.look())

    def _look_at(self, watches: list[Watch]) -> None:
        """End those of *watches* that are over. What is said of the view is said of all."""
        runtime, stale = self._runtime, None
        try:
            follower = runtime.follower()
            generation = follower.view.generation
            vouched = runtime.clock.monotonic() < follower.lease_end and not self._behind(follower)
            if not follower.clock_steady:
                stale = Refusal("stale", "this node's clock is wrong")
        except ClusterTokenError as error:
            stale, generation, vouched = Refusal("stale", str(error), cause=error), 0, False
        now = runtime.clock.time()
        due, over = [], []
        for watch in watches:
            if stale is None and (watch.checked != generation or not vouched):
                found = self._judge(watch.token)
                if isinstance(found, Token):
                    watch.checked = generation
                elif found.reason == "stale":
                    stale = found
                else:
                    over.append((watch, found))
                    continue
            if stale is not None:
                over.append((watch, stale))
            elif now >= watch.ends_at and not watch.asking:
                due.append(watch)
        self._end(over)
        self._expire(due)

    def _behind(self, follower: Follower) -> bool:
        store = self._runtime.store
        return store.embedded and store.position() != follower.view.applied

    def _end(self, over: list[tuple[Watch, Refusal]]) -> None:
        # All are marked before any is told: who is woken by one may look at another.
        ended = []
        with self._lock:
            for watch, refusal in over:
                if self._drop(watch):
                    watch.ended = refusal
                    ended.append((watch, refusal))
        for watch, refusal in ended:
            if watch.wake():
                self._callers.call(partial(watch.tell, refusal))

    # -- what time ends ----------------------------------------------------------------

    def _expire(self, due: list[Watch]) -> None:
        """The expiry of these has passed, as far as is known here."""
        recorded: dict[str, list[Watch]] = {}
        over = []
        for watch in due:
            if watch.token.kind == "login" and self._keeps_record(watch.token):
                watch.asking = True
                recorded.setdefault(watch.token.record_key, []).append(watch)
            else:
                over.append((watch, _expired(watch.token)))
        self._end(over)
        keys = list(recorded)
        for first in range(0, len(keys), AT_ONCE):
            some = {key: recorded[key] for key in keys[first : first + AT_ONCE]}
            # (Not here: a slow store would keep all the others waiting.)
            self._callers.call(partial(self._ask, some))

    def _ask(self, due: dict[str, list[Watch]]) -> None:
        """Go on with those whose logins were renewed meanwhile, somewhere; end the others."""
        watches = [watch for some in due.values() for watch in some]
        try:
            records = self._runtime.store.get_many(list(due))
        except Exception as error:
            unknown = Refusal("stale", "its renewals are not known", cause=error)
            self._end([(watch, unknown) for watch in watches])
            return
        for key, record in records.items():
            token = due[key][0].token
            self.renewed(self._as_recorded(token, record.value, record.expires_at))
        now = self._runtime.clock.time()
        for watch in watches:
            watch.asking = False
        self._end([(one, _expired(one.token)) for one in watches if now >= one.ends_at])

    def _as_recorded(self, token: Token, value: bytes, end: float | None) -> Token:
        try:
            known = from_list(value, end, self._spare)
            spare = spare_of(value, self._spare)
        except ValueError:
            return token
        expires_at = known.expires_at
        if expires_at is not None and self._runtime.settings.always_renew:
            # Renewals within the spare write nothing: the last one may be that much later.
            expires_at += int(spare)
        return replace(token, expires_at=expires_at)

    # -- the thread --------------------------------------------------------------------

    def _start(self) -> None:
        if not self._threaded:
            return
        with self._lock:
            if self._thread is not None:
                return
            self._wake = threading.Event()
            self._thread = thread = threading.Thread(
                target=self._run, args=(self._wake,), name="clustertoken-watching", daemon=True
            )
        # (Not under the lock: with gevent another greenlet runs until the thread has started.)
        try:
            thread.start()
        except RuntimeError as error:
            raise NoThread("watching open connections") from error

    def _refuse_all(self, why: NoThread) -> None:
        """There is no thread: what others have opened by now, as they saw one begin, is over."""
        with self._lock:
            # (In one step: whoever comes later tries to start one.)
            self._thread = None
            watches = [one for same in self._open.values() for one in same]
        self._end([(watch, Refusal("stale", str(why), cause=why)) for watch in watches])

    def _run(self, wake: threading.Event) -> None:
        delay = 0.0
        while True:
            idle = not wake.wait(delay) and delay == LINGER
            wake.clear()
            with self._lock:
                if idle and not self._open:
                    self._thread = None
                    return
            began = time.monotonic()
            try:
                delay = self.step()
            except Exception:
                # A thread that died would leave open what has ended, without a word.
                logger.exception("looking after open connections failed; it goes on")
                delay = LOOK_EVERY
            # Half of the time for whoever serves requests, however fast others revoke.
            time.sleep(min(time.monotonic() - began, LOOK_EVERY))


def _expired(token: Token) -> Refusal:
    return Refusal("expired", "", token.id, token.subject, token.expires_at)
