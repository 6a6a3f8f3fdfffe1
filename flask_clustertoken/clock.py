"""What "now" is: two clocks, passed in wherever time matters."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

#: Seconds by which the wall clocks of two nodes may differ (promise 7). A token is
#: accepted this long past its expiry; a node that differs by more from its store is stale.
SKEW = 60.0


class Clock(Protocol):
    """A wall clock and one that only moves forward."""

    def time(self) -> float:
        """Seconds since 1970, as set by whoever administers the machine."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never set back, and running while the machine sleeps."""
        ...


class SystemClock:
    """The machine's own clocks.

    ``time.monotonic()`` stands still while Linux is suspended, so a lease measured by it
    would still be running after a night in a bag; ``CLOCK_BOOTTIME`` goes on.
    """

    monotonic: Callable[[], float] = staticmethod(
        partial(time.clock_gettime, time.CLOCK_BOOTTIME)
        if hasattr(time, "CLOCK_BOOTTIME")
        else time.monotonic
    )
    time = staticmethod(time.time)


class ManualClock:
    """A clock for tests: it stands until it is moved."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._wall = start
        self._monotonic = 1_000.0

    def time(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass, on both clocks."""
        self._wall += seconds
        self._monotonic += seconds

    def set_wall(self, seconds: float) -> None:
        """Somebody sets the machine's clock by *seconds*; no time passes."""
        self._wall += seconds
