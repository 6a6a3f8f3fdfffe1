"""Shared lease: what one process of the deployment holds at a time, renewed in the background.

What may happen in between, and what closes it:

- Two take it at once: it is made in one step in the store, with the holder's own record and the
  fence's next number, which is conditional on the number that was read.
- The holder is cut off, or frozen, for longer than the lease: it goes by the clock that nobody
  can set and that runs on in a sleep, from the start of the write that was acknowledged last. So
  it is lost here before its records end in the store, where others may have it only
  :data:`~flask_clustertoken.clock.SKEW` seconds later, since each judges that by its own clock.
- A renewal is answered after the lease was lost here: it is lost for good, and is given back.
- The wall clock is set while it is held: how long others leave the records alone depends on what
  we write into them. So before the next renewal it is held against the store's clock.
- The holder is frozen between a look at ``held`` and what it does then: nothing here can help.
  Whatever it does it to has to refuse a lower ``fence`` than it has seen.
- A backup is put back, or a fail-over loses the last writes: the fence's record is an older one.
  The next number is therefore at least the store's time in microseconds, and so above every one
  that was given out before.
- A fork: the child holds nothing, renews nothing and gives nothing back.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType

from ..backoff import Backoff, share
from ..clock import SKEW, Clock
from ..errors import NoThread, StoreError, StoreUnavailable
from ..stores import Lease
from ..stores.base import Add, Change, ClusterStore, Put, Unchanged, next_seq

logger = logging.getLogger("flask_clustertoken")

#: It is renewed when this part of its time has passed.
RENEW_AT = 1 / 3

#: Seconds that the two clocks of a host may part between two renewals without a look.
_DRIFT = 1.0

#: Seconds by which a host's clock may differ from the store's when one looks: two such hosts agree
#: to SKEW, also where both have drifted since.
APART = SKEW / 2 - _DRIFT

#: Seconds between two tries of one who waits for it, and the first pause after trouble.
_TRY_EVERY, _RETRY = 1.0, 0.1

#: Tries in a row where nobody seems to hold it.
_TRIES = 5


class Loss:
    """Set once the lease is not ours any more; as a :class:`threading.Event` that nobody clears."""

    def __init__(self, left: Callable[[], float]) -> None:
        self._left = left
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        """Whether it is lost by now, also if nothing has run in this process since."""
        return self._event.is_set() or self._left() <= 0

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is lost, *timeout* seconds at most; says whether it is."""
        over = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left = self._left()
            if over is not None:
                left = min(left, over - time.monotonic())
                if left <= 0:
                    return False
            self._event.wait(left)
        return True


class SharedLease:
    """The lease of one holder: ``with data.lease("reindex", 30) as lease: if lease.held: …``.

    Entering tries to take it, for *wait* seconds at most, and raises a
    :class:`~flask_clustertoken.errors.StoreError` where the store does not answer, or
    :class:`~flask_clustertoken.errors.NoThread` where nobody would renew it; whether it was taken
    says :attr:`held`. Leaving gives it back. It serves once.
    """

    def __init__(
        self,
        store: ClusterStore,
        clock: Clock,
        key: str,
        fence_key: str,
        seconds: float,
        *,
        wait: float = 0.0,
        threaded: bool = True,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self.seconds = seconds
        #: A number above that of every holder before; 0 while it was not held yet.
        self.fence = 0
        #: Set once it is not held any more; see :class:`Loss`.
        self.lost = Loss(lambda: self.left)
        self._store, self._clock = store, clock
        self._fence_key, self._wait = fence_key, wait
        self._threaded, self._pause = threaded, pause
        self._lease = Lease(store, key, clock=clock)
        self._offset = 0.0
        self._over = False
        self._used = False
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._pauses = Backoff(_RETRY, seconds * RENEW_AT)

    # -- what the holder asks ----------------------------------------------------------

    @property
    def left(self) -> float:
        """Seconds for which it is held, if it is not renewed; 0 where it is not held."""
        if self._over or not self.fence or os.getpid() != self._pid:
            return 0.0
        left = self._lease.left
        if left <= 0:
            # For good: an answer that comes now would be too late for whoever was told.
            self._lose("it could not be renewed in time")
        return left

    @property
    def held(self) -> bool:
        """Whether it is ours, without asking the store. ``False`` before another can have it."""
        return self.left > 0

    def __bool__(self) -> bool:
        return self.held

    # -- taking, renewing, giving back -------------------------------------------------

    def __enter__(self) -> SharedLease:
        if self._used:
            raise RuntimeError("this lease was used: ask for another one")
        self._used = True
        over = self._clock.monotonic() + self._wait
        while not self._taken(over) and self._clock.monotonic() < over:
            left = over - self._clock.monotonic()
            self._pause(min(left, share(min(_TRY_EVERY, self.seconds), 0.5)))
        if self.fence and self._threaded:
            self._begin_to_renew()
        return self

    def _begin_to_renew(self) -> None:
        thread = threading.Thread(target=self._run, name="clustertoken-lease", daemon=True)
        try:
            thread.start()
        except BaseException as error:
            # Whoever did not enter does not leave: others would wait for its end.
            self._leave()
            if isinstance(error, RuntimeError):
                raise NoThread("renewing a lease") from error
            raise

    def _taken(self, over: float) -> bool:
        try:
            return self.take()
        except StoreError:
            if self._clock.monotonic() >= over:
                raise
            return False

    def take(self) -> bool:
        """One try; ``False``: another one has it."""
        for _ in range(_TRIES):
            if self._store.peek(self._lease.key) is not None:
                return False
            # (Else it was taken and given back meanwhile, or the fence was read on a server that
            # lags.)
            if self._take_free():
                return True
        return False

    def _take_free(self) -> bool:
        now = self._checked_time()
        found = self._store.get(self._fence_key)
        fence = next_seq(int(found.value) if found else 0, now)
        raw = str(fence).encode()
        counted: list[Change] = (
            [Unchanged(self._fence_key, found.value), Put(self._fence_key, raw, None)]
            if found
            else [Add(self._fence_key, raw, None)]
        )
        if self._lease.take(self.seconds, counted):
            self.fence = fence
        return bool(self.fence)

    def _checked_time(self) -> float:
        """The store's wall clock, with which ours agrees."""
        asked = self._clock.time()
        offset = asked - self._clock.monotonic()
        now = self._store.time()
        # (When in between the store looked at its clock, nobody knows.)
        apart = max(now - asked, self._clock.time() - now)
        if apart > APART:
            raise StoreUnavailable(
                f"this host's clock differs from the store's by {apart:.0f} s: with more than "
                f"{APART:.0f} s it can hold no lease; let NTP set it"
            )
        self._offset = offset
        return now

    def step(self) -> float | None:
        """Renew it; seconds until the next step, ``None`` where it is not held any more."""
        with self._lock:
            if not self.held:
                return None
            try:
                if abs(self._clock.time() - self._clock.monotonic() - self._offset) > _DRIFT:
                    self._checked_time()
                done = self._lease.hold(self.seconds)
            except StoreError as error:
                logger.info("the lease %s could not be renewed yet: %s", self._lease.key, error)
                return min(self.left, self._pauses.next())
            if self._over:
                # Another thread has looked in vain while we waited for the answer.
                self._lease.give()
                return None
            if not done:
                self._lose("it was not ours any more")
                return None
            self._pauses.reset()
            return self.seconds * RENEW_AT

    def _run(self) -> None:
        delay: float | None = self.seconds * RENEW_AT
        while delay is not None and not self._stop.wait(delay):
            try:
                delay = self.step()
            except Exception:
                logger.exception("the lease %s cannot be renewed", self._lease.key)
                self._lose("its renewal failed")
                return

    def _lose(self, why: str) -> None:
        if not self._over:
            self._over = True
            logger.warning("the lease %s is lost: %s", self._lease.key, why)
        self.lost.set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        if os.getpid() != self._pid:
            return
        self._stop.set()
        self._over = True
        self.lost.set()
        if self.fence:
            # (Behind a renewal that is under way, which ends within a call's time.)
            with self._lock:
                self._lease.give()
