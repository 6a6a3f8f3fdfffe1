"""Callers: threads that make calls which may take their time.

For calls into an app, and through it to clients: one that is slow or dead must keep none of the
others waiting. A few threads make all calls; where those are stuck there is another one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

logger = logging.getLogger("flask_clustertoken")

#: Threads that are free to make calls, while there are calls to make.
FREE = 4

#: Seconds after which a call counts as stuck, and its thread not as free.
STUCK_AFTER = 0.1

#: Seconds for which a thread without work stays.
LINGER = 5.0


class Callers:
    """Makes calls, in threads of its own; *threaded* ``False``: at once, in whoever asks for it.

    Nothing is made before the first call: after any fork and any monkey-patching.
    """

    def __init__(self, *, threaded: bool = True) -> None:
        self._threaded = threaded
        self.forget()

    def forget(self) -> None:
        """In a fork's child: the threads are the parent's."""
        self._lock = threading.Lock()
        self._calls: deque[Callable[[], object]] = deque()
        #: Each thread's current call's beginning; ``None``: it is looking for one.
        self._running: dict[int, float | None] = {}
        self._more: threading.Semaphore | None = None

    @property
    def waiting(self) -> bool:
        """Whether there are calls that nobody makes yet: look again soon."""
        return bool(self._calls)

    def call(self, work: Callable[[], object]) -> None:
        """Have *work* called soon, in some thread. What it raises is logged."""
        if not self._threaded:
            _call(work)
            return
        with self._lock:
            self._calls.append(work)
            more = self._more = self._more or threading.Semaphore(0)
        more.release()
        self.look()

    def look(self) -> None:
        """Start threads where calls wait and too few are free; to be asked now and then."""
        if not self._calls:
            return
        now = time.monotonic()
        with self._lock:
            running = list(self._running.values())
            idle = running.count(None)
            stuck = sum(began is not None and now - began > STUCK_AFTER for began in running)
            wanted = min(len(self._calls) - idle, FREE - (len(running) - stuck))
            threads = [
                threading.Thread(target=self._work, name="clustertoken-caller", daemon=True)
                for _ in range(wanted)
            ]
            for thread in threads:
                self._running[id(thread)] = None
        # (Not under the lock: with gevent another greenlet runs until the thread has started.)
        for thread in threads:
            thread.start()

    def _work(self) -> None:
        me = id(threading.current_thread())
        more = self._more
        assert more is not None
        while more.acquire(timeout=LINGER):
            with self._lock:
                work = self._calls.popleft() if self._calls else None
                self._running[me] = time.monotonic()
            if work is not None:
                _call(work)
            self._running[me] = None
        with self._lock:
            self._running.pop(me, None)
        # (A call that came between the two is found by the next look.)


def _call(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception:
        logger.exception("what was to be called at the end of a connection failed")
