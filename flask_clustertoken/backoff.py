"""Backoff: how long to wait before what failed is tried again, and how to spread what all do.

Nothing may feed on its own trouble. Whoever tries again at a fixed pace asks a store that is
slow as often as one that is well, and many who began together go on together. So the time
before a try is drawn evenly from nothing up to a bound, and the bound doubles with each failure
("full jitter"); a success begins anew. What is due for every node at the same moment is moved by
a random share of its time.
"""

from __future__ import annotations

import random
from collections.abc import Callable

#: Where chance comes from: a number from 0 to 1. (The system's: each child of a fork draws other
#: ones, and the app's own seed stays its own.)
chance: Callable[[], float] = random.SystemRandom().random


def share(seconds: float, least: float = 0.0) -> float:
    """A random part of *seconds*, and never less than *least* of it (0 to 1)."""
    return seconds * (least + (1.0 - least) * chance())


class Backoff:
    """The pauses of one who tries again. *first* and *cap* bound the first and the longest.

    *free* failures in a row cost no pause yet: where one alone says little, or a pause of the
    caller's own is enough for it. It has no lock: of two failures at once one may not count.
    """

    def __init__(self, first: float, cap: float, *, free: int = 0) -> None:
        self._first = first
        self._cap = max(first, cap)
        self._free = free
        self._failures = 0

    @property
    def failing(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    def next(self) -> float:
        """It failed: seconds to wait now."""
        doublings = self._failures - self._free
        self._failures += 1
        if doublings < 0:
            return 0.0
        return share(min(self._cap, self._first * 2.0 ** min(doublings, 32)))

    def reset(self) -> None:
        """It succeeded."""
        self._failures = 0
