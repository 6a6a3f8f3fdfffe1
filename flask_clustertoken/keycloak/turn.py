"""Turn: the right to refresh one login's tokens, which one request of the cluster has at a time."""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress

from ..errors import Conflict, StoreError
from ..stores.base import Add, Change, ClusterStore, Delete, Require

logger = logging.getLogger("flask_clustertoken.keycloak")


class Turn:
    """Two records: one that all want, and one of our own, with the same end.

    While our own lives the other is ours. Somebody who was asleep for longer than that neither
    writes nor takes away what has become another's.
    """

    def __init__(self, store: ClusterStore, key: str) -> None:
        self._store = store
        self._key = key
        self._mine = f"{key}/{secrets.token_hex(8)}"
        self._ends = float("-inf")

    def take(self, ends: float) -> bool:
        """Whether it is ours now; at *ends* (wall clock) it is free again in any case."""
        self._ends = ends
        try:
            self._store.append([], [Add(self._key, b"1", ends), Add(self._mine, b"1", ends)])
        except Conflict:
            return False
        except StoreError:
            # Perhaps it was done, and only the answer is lost.
            self.give()
            raise
        return True

    def is_over(self, now: float) -> bool:
        return now >= self._ends

    def needed(self) -> list[Change]:
        """The part of a transaction that holds only while it is ours."""
        return [Require(self._key), Require(self._mine)]

    def give(self) -> None:
        """Let the next one have it. In trouble it is free at its end."""
        try:
            with suppress(Conflict):
                self._store.append([], [Require(self._mine), Delete(self._mine), Delete(self._key)])
        except StoreError as error:
            logger.info("others wait for a refresh that is over: %s", error)
