"""Announcing: how long tokens made here may live is said in the feed before one is made.

A mark is remembered for as long as the longest lifetime that was announced before it; a token
that lives longer than what was announced would outlive its revocation.
"""

from __future__ import annotations

from ..backoff import share
from ..clock import Clock
from .entry import LIFETIME_ANNOUNCED, FeedEntry
from .reader import Reader


class Announcing:
    """One node's lifetime of tokens, as it stands in the feed that *reader* reads."""

    def __init__(self, reader: Reader, *, clock: Clock, lifetime: float) -> None:
        self._reader = reader
        self._clock = clock
        self._lifetime = float(lifetime)
        self._until = 0.0
        #: The reader's losses when that was so: what a store has lost is not announced in it.
        self._losses = reader.losses
        #: A node's own part of the time in which the next one is due: the first does it for all.
        self._early = LIFETIME_ANNOUNCED / 2 - share(LIFETIME_ANNOUNCED / 4)

    def holds(self) -> bool:
        """Whether the view stands behind an announcement of our lifetime that still holds.

        Announces it where it does not. Raises :class:`~flask_clustertoken.errors.StoreError`.
        """
        if self._clock.time() >= self._known_until():
            self.renew()
        return self._clock.time() < self._known_until()

    def renew(self) -> None:
        """Announce it again where that is due: long before the last announcement is over."""
        now = self._clock.time()
        losses, known = self._reader.losses, self._known_until()
        number, until = self._reader.announced.get(self._lifetime, (0, 0.0))
        if number <= self._reader.view.applied:
            # What another node has announced holds for this one as well.
            self._know(max(known, until), losses)
        if now < self._known_until() - self._early:
            return
        day = int(now // (LIFETIME_ANNOUNCED / 2))
        at = day * LIFETIME_ANNOUNCED / 2
        feed_entry = FeedEntry("lifetime", at, value=self._lifetime)
        new = feed_entry.entry(0.0, f"lifetime-{int(self._lifetime)}-{day}")
        seq = self._reader.store.append([new])[0]
        if seq > self._reader.view.applied:
            self._reader.follow()
        if seq <= self._reader.view.applied:
            self._know(at + LIFETIME_ANNOUNCED, losses)

    def _known_until(self) -> float:
        return self._until if self._losses == self._reader.losses else 0.0

    def _know(self, until: float, losses: int) -> None:
        self._losses, self._until = losses, until
