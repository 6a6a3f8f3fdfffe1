"""Remembered: what a provider says once for many requests, such as its keys, fetched when needed.

Whoever has an old value goes on with it while a thread behind the requests fetches a new one:
a provider that hangs must not hold up what needs no round trip.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ..backoff import Backoff
from ..clock import Clock
from .errors import Peer, ProviderUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between two attempts while there is no value at all, and at least behind requests.
FETCH_PAUSE = 1.0
#: Seconds by which failures make a pause longer at most.
LONGEST_FETCH_PAUSE = 10.0
#: Seconds that a request waits for what another one is just fetching.
FETCH_PATIENCE = 5.0
_NEVER = float("-inf")


class Remembered(Generic[T]):
    """One value of *peer*. *fetch* raises :class:`ProviderUnavailable`; *what* names it.

    A pause counts from the end of an attempt: one that hangs would outlast it otherwise.
    """

    def __init__(
        self,
        peer: Peer,
        what: str,
        fetch: Callable[[], T],
        *,
        clock: Clock,
        lifetime: float,
        pause: float,
    ) -> None:
        self._peer = peer
        self._what = what
        self._fetch = fetch
        self._clock = clock
        self._lifetime = lifetime
        self._pause = pause
        #: What is added to a pause: after one failure nothing, then more and more.
        self._backoff = Backoff(FETCH_PAUSE, LONGEST_FETCH_PAUSE, free=1)
        self._more = 0.0
        self._value: T | None = None
        self._fetched = _NEVER
        #: The last doubt, and the one up to which it was asked again. (Not a number that is
        #: raised: of two threads that raise it at once, one would be overlooked.)
        self._doubt = self._settled = object()
        #: The end of the last attempt; those of the urgent ones are counted by themselves.
        self._tried = {False: _NEVER, True: _NEVER}
        self._lock = threading.Lock()

    @property
    def held(self) -> T | None:
        """What is at hand, however old."""
        return self._value

    def get(self) -> T:
        """The value; fetched first only where there is none at all."""
        found = self._value
        if found is None:
            found = self.newer(None)
            if found is None:
                raise self._peer.trouble(f"{self._what} failed a moment ago")
        elif self._settled is not self._doubt:
            found = self._settle(found)
        elif self._clock.monotonic() - self._fetched >= self._lifetime:
            self._renew()
        return found

    def newer(self, than: T | None, *, urgent: bool = False) -> T | None:
        """A value newer than *than*, fetched now; *than* itself where the last attempt is recent.

        *urgent*: for what cannot be tried again later; only the urgent attempts before it count.
        """
        pause = FETCH_PAUSE if than is None or urgent else self._pause
        pause = min(pause, self._pause) if than is not None else pause
        lock = self._lock
        if not lock.acquire(timeout=FETCH_PATIENCE):
            raise self._peer.trouble(f"{self._what} takes too long")
        try:
            pause += 0.0 if urgent else self._more
            recent = self._clock.monotonic() - self._tried[urgent] < pause
            if self._value is than and not recent:
                self._attempt(urgent)
            return self._value
        finally:
            lock.release()

    def _attempt(self, urgent: bool = False) -> None:
        began, doubt = self._clock.monotonic(), self._doubt
        try:
            self._value = self._fetch()
            self._fetched = began
            # (One that was asked for before a doubt came may be the answer of before.)
            self._settled = doubt
            self._backoff.reset()
            self._more = 0.0
        except ProviderUnavailable:
            self._more = self._backoff.next()
            raise
        finally:
            self._tried[urgent] = self._clock.monotonic()

    def doubt(self) -> None:
        """Whoever asks next waits for one attempt to fetch it anew; this waits for nothing."""
        self._doubt = object()

    def _settle(self, found: T) -> T:
        lock, doubt = self._lock, self._doubt
        if not lock.acquire(timeout=FETCH_PATIENCE):
            return found
        try:
            if self._settled is not self._doubt:
                self._attempt()
        except ProviderUnavailable as error:
            logger.warning("the old answer is used further: %s", error)
            # Once is enough to wait. From here on it is tried behind the requests.
            self._settled, self._fetched = doubt, _NEVER
        finally:
            lock.release()
        return self._value or found

    def _renew(self) -> None:
        lock = self._lock
        pause = max(self._pause, FETCH_PAUSE) + self._more
        recent = self._clock.monotonic() - self._tried[False] < pause
        if recent or not lock.acquire(blocking=False):
            return

        def work() -> None:
            try:
                self._attempt()
            except ProviderUnavailable as error:
                logger.warning("the old answer is used further: %s", error)
            finally:
                lock.release()

        try:
            threading.Thread(target=work, name="clustertoken-provider", daemon=True).start()
        except RuntimeError:
            # No thread can be had, or the process is just ending.
            lock.release()

    def forget_locks(self) -> None:
        """In a fork's child: a thread of the parent may have held the lock."""
        self._lock = threading.Lock()
