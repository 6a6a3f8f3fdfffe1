"""Aside: what others revoke is read while a step of the follower waits for the store.

A step writes now and then, and a write may wait where reading does not: for a disk that stalls,
for a standby, for somebody's lock. Until the call's time was over, and the pause behind it, the
node would go on accepting what was revoked meanwhile: 7 s behind a lock on its row in PostgreSQL.
That is within ``MAX_STALENESS``, but nothing that has to be.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ClusterTokenError
from .follower import Follower

logger = logging.getLogger("flask_clustertoken")

#: Seconds that the step under way has to end by itself: mostly it does, and the next one reads.
PATIENCE = 0.1


class Aside:
    """Reads in a thread that lives while it is needed, one at a time.

    Only where the node accepts tokens, and not where it is in trouble already: a store that is
    slow is not asked more often because somebody revokes.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        #: The step that is being taken, each of them another object.
        self._step: object | None = None
        self._lock = threading.Lock()
        self._called = False
        self._running = False
        self._over = threading.Event()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around each step of the follower's."""
        self._step = object()
        try:
            yield
        finally:
            self._step = None

    def called(self) -> None:
        """The feed moved. Waits for nothing: it may be the store's own thread that says so."""
        if not self._wanted():
            return
        with self._lock:
            self._called = True
            if self._running:
                return
            self._running = True
        thread = threading.Thread(target=self._run, name="clustertoken-aside", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # (The interpreter ends, or the system has no thread to give.)
            self._running = False

    def stop(self) -> None:
        self._over.set()

    def _wanted(self) -> bool:
        follower = self._follower
        waits = self._step is not None and follower.fresh
        return waits and not (follower.backing_off or self._over.is_set())

    def _run(self) -> None:
        while self._goes_on():
            step = self._step
            # (Another one has begun? It is given its time too.)
            if not self._over.wait(PATIENCE) and self._step is step:
                with self._lock:
                    self._called = False
                if step is not None:
                    self._read()

    def _goes_on(self) -> bool:
        with self._lock:
            self._running = self._called and self._wanted()
            return self._running

    def _read(self) -> None:
        try:
            self._follower.follow()
        except ClusterTokenError:
            # (The step that waits says what is wrong.)
            logger.debug("nothing could be read aside", exc_info=True)
        except Exception:
            if not self._over.is_set():
                logger.exception("reading aside failed; the follower goes on")
