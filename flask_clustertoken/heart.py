"""Heart: the thread around a follower. Wait, step, wait."""

from __future__ import annotations

import logging
import threading

from .errors import StoreError
from .follower import RETRY_AFTER, Follower

logger = logging.getLogger("flask_clustertoken")


class FollowerThread:
    """The thread around a follower: wait, step, wait."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._stopped = False
        self._watching = False
        self._thread = threading.Thread(target=self._run, name="clustertoken-follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        delay = 0.0
        while self._waited(delay):
            try:
                self._watch()
                delay = self._follower.step()
            except Exception:
                if self._stopped:  # the store was closed under this very step
                    return
                # A thread that died would make the node stale without a word.
                logger.exception("the follower failed; it goes on")
                delay = RETRY_AFTER

    def _watch(self) -> None:
        """Ask to be woken, as soon as the store can be asked for that."""
        if not self._watching:
            try:
                self._follower.store.watch(self._follower.wake.set)
                self._watching = True
            except StoreError:
                logger.debug("the store cannot be watched yet", exc_info=True)

    def _waited(self, delay: float) -> bool:
        self._follower.wake.wait(delay)
        self._follower.wake.clear()
        return not self._stopped

    def stop(self) -> None:
        self._stopped = True
        self._follower.wake.set()
