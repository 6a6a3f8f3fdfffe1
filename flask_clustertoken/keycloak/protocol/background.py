"""Background: calls to Keycloak that nobody waits for, in two threads a process.

Keycloak calls our logout URL back before it answers a logout. A request that waited for it
would wait for itself where a process handles one request at a time. Logouts have a lane of
their own: looks at sessions come with each renewal, and while Keycloak hangs they pile up.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ... import forks
from ...errors import NoThread

logger = logging.getLogger(__name__)

#: Logouts and looks that wait at most; further ones are left out, and the log says so.
LOGOUTS_WAITING, LOOKS_WAITING = 10_000, 1000
#: Seconds that a leaving process waits for logouts under way.
DRAIN_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class _Call:
    what: str
    work: Callable[[], None]
    #: Of two with the same key one is enough; ``None``: each counts.
    key: str | None = None


class _Lane:
    """Does one call after the other, in a thread that is there while there is one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """In a fork's child: calls, thread and lock are the parent's."""
        self._waiting: deque[_Call] = deque()
        self._keys: set[str] = set()
        self._thread: threading.Thread | None = None
        self._late = False
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()

    def add(self, call: _Call) -> None:
        with self._lock:
            if call.key is None or call.key not in self._keys:
                self._add(call)
        self.start()

    def start(self) -> None:
        """Begin what waits, where there was no thread for it before."""
        if self._waiting and self._thread is None:
            with self._lock:
                if self._waiting and self._thread is None:
                    self._start()

    def _add(self, call: _Call) -> None:
        if len(self._waiting) >= self._limit:
            logger.error("%s was left out: too many calls to Keycloak wait", call.what)
            return
        self._waiting.append(call)
        if call.key is not None:
            self._keys.add(call.key)
        self._idle.clear()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="clustertoken-keycloak", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._late:
                logger.warning("%s. They wait", NoThread("calls to Keycloak"))
            self._late = True
            return
        self._thread, self._late = thread, False

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    self._idle.set()
                    return
                call = self._waiting.popleft()
            try:
                call.work()
            except Exception as error:
                logger.warning("%s failed: %s", call.what, error)
            with self._lock:
                self._keys.discard(call.key or "")

    def drain(self, patience: float) -> int:
        """Wait for what there is; says how many calls still wait or are under way."""
        self.start()
        if self._idle.wait(patience):
            return 0
        return len(self._waiting) + 1


class Background:
    """Runs what it is given, one after the other."""

    def __init__(self) -> None:
        self._logouts, self._looks = _Lane(LOGOUTS_WAITING), _Lane(LOOKS_WAITING)

    def run(self, what: str, work: Callable[[], None]) -> None:
        """Do *work* soon: a logout. What it raises is logged as a failure of *what*."""
        self._logouts.add(_Call(what, work))

    def look(self, key: str, what: str, work: Callable[[], None]) -> None:
        """Do *work* when there is time, unless it waits already for the same *key*."""
        self._looks.add(_Call(what, work, key))

    def start(self) -> None:
        """Begin what waits for a thread; to be called now and then."""
        self._logouts.start()
        self._looks.start()

    def drain(self) -> None:
        """Wait a moment for logouts: the process ends."""
        left = self._logouts.drain(DRAIN_PATIENCE)
        if left:
            logger.error("Keycloak was not told of %d logouts before this process ended", left)


_all: weakref.WeakSet[_Lane] = weakref.WeakSet()


def _forget_all() -> None:
    for one in list(_all):
        one.forget()


forks.in_child("adapters", _forget_all)
