"""Lease: what one process of the cluster has at a time, for so many seconds, over any store.

Two records: one that all want, and one of the holder's own, whose name nobody else can guess.
Both are made, prolonged and deleted in one step. While our own lives the other is ours. So
whoever slept for longer than its lease neither writes under it nor takes away what has become
another's, and a look before that is not needed: there would be time to sleep behind it, too.

Each node judges by its own wall clock whether a record is alive. Therefore our own record ends
*margin* seconds before the other: two whose clocks agree to that never both hold it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress

from ..clock import SKEW, Clock
from ..errors import Conflict, StoreError
from .base import Add, Change, ClusterStore, Delete, Held, Put, Require

logger = logging.getLogger("flask_clustertoken")

_NEVER = float("-inf")


class Lease:
    """One holder's part in the lease *key*. Not for several threads at once.

    *margin* (seconds): how far the clocks of those who want it may be apart. Who dies with the
    lease holds up the others that much longer. Where two at once do no harm it may be 0.
    """

    def __init__(
        self, store: ClusterStore, key: str, *, margin: float = SKEW, clock: Clock | None = None
    ) -> None:
        self.key = key
        self._store = store
        self._margin = margin
        self._clock = clock or store.clock
        self._until = _NEVER
        self._nonce, self._mine = self._names()

    def _names(self) -> tuple[str, str]:
        nonce = secrets.token_hex(8)
        return nonce, f"{self.key}/{nonce}"

    def take(self, seconds: float, also: Sequence[Change] = ()) -> bool:
        """Whether it is ours now, for *seconds*; ``False``: somebody has it (perhaps we do,
        and go on having it).

        *also* is made in the same step; ``False`` too where a condition among it does not hold.

        Raises a :class:`~flask_clustertoken.errors.StoreError` in trouble; then nothing was taken.
        """
        # A new name each time: what was sent for the last one and arrives late finds nothing.
        nonce, mine = self._names()
        began, now = self._clock.monotonic(), self._clock.time()
        try:
            self._store.append(
                [],
                [
                    Add(self.key, nonce.encode(), now + seconds + self._margin),
                    Add(mine, b"", now + seconds),
                    *also,
                ],
            )
        except Conflict:
            return False
        except StoreError:
            # Perhaps it was done, and only the answer is lost.
            self._let_go(mine)
            raise
        self._nonce, self._mine, self._until = nonce, mine, began + seconds
        return True

    def hold(self, seconds: float) -> bool:
        """Prolong it: ours for *seconds* from now on. ``False``: it is not ours any more.

        Raises a :class:`~flask_clustertoken.errors.StoreError` in trouble; what was held until
        then is held no longer than it was (or, if only the answer is lost, than this asked for).
        """
        began, now = self._clock.monotonic(), self._clock.time()
        try:
            self._store.append(
                [],
                [
                    *self.needed(),
                    Put(self.key, self._nonce.encode(), now + seconds + self._margin),
                    Put(self._mine, b"", now + seconds),
                ],
            )
        except Conflict:
            self._until = _NEVER
            return False
        self._until = began + seconds
        return True

    def give(self) -> None:
        """Let the next one have it, if it is still ours: in one step, so that a sleeper takes
        nothing away. In trouble it is free at its end."""
        self._until = _NEVER
        self._let_go(self._mine)

    def _let_go(self, mine: str) -> None:
        try:
            with suppress(Conflict):
                self._store.append([], [Require(mine), Delete(mine), Delete(self.key)])
        except StoreError as error:
            logger.info("others wait until the lease %s has ended: %s", self.key, error)

    @property
    def held(self) -> bool:
        """Whether it is ours by the clock that nobody can set, without asking the store.

        ``False`` before another one can have it. To be sure *while writing*: :meth:`needed`.
        """
        return self.left > 0

    @property
    def left(self) -> float:
        """Seconds for which it is still :attr:`held`; 0 where it is not."""
        return max(0.0, self._until - self._clock.monotonic())

    def needed(self) -> list[Change]:
        """The part of a transaction that holds only while it is ours, else ``Conflict``."""
        return [Require(self.key), Require(self._mine)]

    @property
    def as_held(self) -> Held:
        """The same for :meth:`~flask_clustertoken.stores.base.ClusterStore.load`."""
        return Held(self.key, self._nonce.encode())
