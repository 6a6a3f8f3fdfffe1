"""Checked clock: whether a node's wall clock may be gone by, held against the store's."""

from __future__ import annotations

from math import isnan, nan

from ..clock import SKEW, Clock


class CheckedClock:
    """This host's two clocks, compared with each other at each step, and with the store's at
    each contact. While they disagree nobody may judge an expiry by them, or make one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.time() - clock.monotonic()
        #: Wall clock minus monotonic clock; no number while the wall clock is not believed.
        self.offset = self._offset
        #: When the wall clock began to agree with the store's, by the monotonic clock.
        self.steady_since = clock.monotonic()
        self._store_ahead: float | None = None

    @property
    def steady(self) -> bool:
        """Whether the wall clock agreed with the store's, and was not set since."""
        return self.steady_at(self._clock.time(), self._clock.monotonic())

    def steady_at(self, now: float, monotonic: float) -> bool:
        """:attr:`steady`, for whoever has read both clocks just now."""
        return -SKEW <= now - monotonic - self.offset <= SKEW

    def jumped(self) -> bool:
        """Whether the wall clock was set since this was asked last."""
        offset = self._clock.time() - self._clock.monotonic()
        jumped = abs(offset - self._offset) > SKEW
        self._offset = offset
        if not isnan(self.offset):
            self.offset = offset
        return jumped

    def agrees(self, store_time: float) -> bool:
        """Whether the store's clock, which showed *store_time* just now, and ours agree."""
        self._store_ahead = store_time - self._clock.monotonic()
        if abs(store_time - self._clock.time()) > SKEW:
            self.offset = nan
            return False
        self.offset = self._offset
        return True

    def begin_anew(self) -> None:
        """The wall clock is not believed: from here on it has to be steady anew."""
        self.steady_since = self._clock.monotonic()

    def latest(self) -> float:
        """The time of day, by the store's clock where that is ahead of ours."""
        now = self._clock.time()
        if self._store_ahead is not None:
            now = max(now, self._clock.monotonic() + self._store_ahead)
        return now

    def store_time(self) -> float:
        """The store's time of day, as of the last contact: what two nodes have in common.

        It may be behind by as long as that contact took. (One's own, without any contact.)
        """
        if self._store_ahead is None:
            return self._clock.time()
        return self._clock.monotonic() + self._store_ahead

    def past(self) -> float:
        """A time of day that the store's clock has surely reached: for whoever deletes.

        By the monotonic clock since the last contact, so that a wall clock which was set
        a moment ago deletes nothing. (A command line that is no node has only its own.)
        """
        if self._store_ahead is None:
            return self._clock.time()
        return min(self._clock.time(), self._clock.monotonic() + self._store_ahead)
