"""Runner: the thread around a follower. Wait, step, wait."""

from __future__ import annotations

import logging
import threading
import time

from ..backoff import Backoff
from ..errors import NoThread, StoreError
from .aside import Aside
from .follower import RETRY_AFTER, Follower

logger = logging.getLogger("flask_clustertoken")

#: Seconds that a step which failed in a way that nobody thought of is put off at most.
LONGEST_PAUSE = 30.0

#: What the thread is for.
FOLLOWING = "following the cluster"


class Runner:
    """The thread around a follower: wait, step, wait."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._stopped = False
        self._watching = False
        self._aside = Aside(follower)
        self._begun = threading.Event()
        self._thread = threading.Thread(
            target=self._begin, name="clustertoken-follower", daemon=True
        )

    def prepare(self) -> None:
        """Have the thread, which takes no step before :meth:`start`.

        Raises :class:`~flask_clustertoken.errors.NoThread` where none can be had.
        """
        try:
            self._thread.start()
        except RuntimeError as error:
            raise NoThread(FOLLOWING) from error

    def start(self) -> None:
        """Take steps from here on; whoever has not prepared it does so now."""
        if self._thread.ident is None:
            self.prepare()
        self._begun.set()

    def _begin(self) -> None:
        self._begun.wait()
        self._run()

    def _run(self) -> None:
        delay = 0.0
        unknown = Backoff(RETRY_AFTER, LONGEST_PAUSE)
        while self._waited(delay, unknown.failing or self._follower.backing_off):
            try:
                self._watch()
                with self._aside.step():
                    delay = self._follower.step()
                unknown.reset()
            except Exception:
                if self._stopped:  # the store was closed under this very step
                    return
                # A thread that died would make the node stale without a word.
                logger.exception("the follower failed; it goes on")
                delay = unknown.next()

    def _watch(self) -> None:
        """Ask to be woken, as soon as the store can be asked for that."""
        if not self._watching:
            try:
                self._follower.store.watch(self._moved)
                self._watching = True
            except (StoreError, NoThread):
                # (Meanwhile each proof of freshness reads what there is.)
                logger.debug("the store cannot be watched yet", exc_info=True)

    def _moved(self) -> None:
        """The feed did: the next step reads, or somebody beside the one that is being taken."""
        self._aside.called()
        self._follower.wake.set()

    def _waited(self, delay: float, to_the_end: bool) -> bool:
        """Wait until something happens; *to_the_end*: whatever happens, save that we stop.

        In trouble each revocation of others would be one more try.
        """
        wake, end = self._follower.wake, time.monotonic() + delay
        while True:
            wake.wait(max(0.0, end - time.monotonic()))
            wake.clear()
            if self._stopped or not to_the_end or time.monotonic() >= end:
                return not self._stopped

    def stop(self) -> None:
        self._stopped = True
        self._begun.set()
        self._aside.stop()
        self._follower.wake.set()
