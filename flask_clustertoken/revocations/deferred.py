"""Deferred work: what may wait for a later step, and may be lost (coarse last use)."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from ..clock import Clock

logger = logging.getLogger("flask_clustertoken")

#: Pieces of work that wait at most; the oldest is lost then.
MOST_WAITING = 1000

#: Seconds that a step may spend on it.
PATIENCE = 1.0


class Deferred:
    """Work that some thread leaves, and that the follower's next steps do."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[Callable[[], None]] = deque(maxlen=MOST_WAITING)

    def add(self, work: Callable[[], None]) -> None:
        self._waiting.append(work)

    def do(self, end: float) -> bool:
        """Do what waits, until *end* by the monotonic clock at most; ``False`` if some is left."""
        end = min(end, self._clock.monotonic() + PATIENCE)
        for _ in range(len(self._waiting)):
            if self._clock.monotonic() >= end:
                return False
            work = self._waiting.popleft()
            try:
                work()
            except Exception:
                logger.debug("work that may be lost was lost", exc_info=True)
        return True
