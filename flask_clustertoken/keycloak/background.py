"""Background: calls to Keycloak that nobody waits for, in one thread a process.

Keycloak calls our logout URL back before it answers a logout. A request that waited for it
would wait for itself where a process handles one request at a time.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable

logger = logging.getLogger("flask_clustertoken.keycloak")

#: Calls that wait at most; further ones are dropped with a warning.
LIMIT = 1000
#: Seconds that a leaving process waits for calls under way.
PATIENCE = 5.0


class Background:
    """Runs what it is given, one after the other."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, Callable[[], None]]] = deque()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._pid = 0
        self._idle = threading.Event()

    def run(self, what: str, work: Callable[[], None]) -> None:
        """Do *work* soon. What it raises is logged as a failure of *what*."""
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            if len(self._waiting) >= LIMIT:
                logger.warning("%s was left out: too many calls to Keycloak wait", what)
                return
            self._waiting.append((what, work))
            self._idle.clear()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="clustertoken-keycloak", daemon=True
                )
                self._thread.start()

    def _begin(self) -> None:
        # After a fork the parent's thread and lock are not ours.
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._waiting.clear()
        self._thread = None
        self._pid = os.getpid()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    self._idle.set()
                    return
                what, work = self._waiting.popleft()
            try:
                work()
            except Exception as error:
                logger.warning("%s failed: %s", what, error)

    def drain(self) -> None:
        """Wait a moment for what is under way: the process ends."""
        if self._thread is not None and self._pid == os.getpid():
            self._idle.wait(PATIENCE)
