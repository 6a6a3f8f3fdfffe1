"""Looks: a request asks the store for what it has to know, unless that came to nothing just now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..backoff import Backoff
from ..clock import Clock
from ..errors import StoreUnavailable

T = TypeVar("T")

#: Seconds for which first sights are refused at first and at most, after others came to nothing.
FIRST_LOOK = 0.1
LONGEST_LOOK = 2.0


class Looks:
    """Requests keep coming, and each would ask a slow store for as long as it may."""

    def __init__(self, clock: Clock, *, embedded: bool) -> None:
        self._clock = clock
        self._embedded = embedded
        self._backoff = Backoff(FIRST_LOOK, LONGEST_LOOK, free=2)
        self._not_until = float("-inf")

    def look(self, ask: Callable[[], T]) -> T:
        """The answer of the store to *ask*, for a request that has to know something.

        Where such looks came to nothing a moment ago it raises :class:`StoreUnavailable` at once.
        An embedded store is nobody else's, and always asked: it is good again with its files.
        """
        if self._embedded:
            return ask()
        if self._clock.monotonic() < self._not_until:
            raise StoreUnavailable("the store did not answer a moment ago")
        try:
            found = ask()
        except StoreUnavailable:
            self._not_until = self._clock.monotonic() + self._backoff.next()
            raise
        self._backoff.reset()
        return found
