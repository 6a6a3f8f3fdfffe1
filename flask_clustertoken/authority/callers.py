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
from math import inf

from ..backoff import Backoff
from ..errors import NoThread

logger = logging.getLogger("flask_clustertoken")

#: Threads that are free to make calls, while there are calls to make.
FREE = 4

#: Seconds after which a call counts as stuck, and its thread not as free.
STUCK_AFTER = 0.1

#: Seconds for which a thread without work stays.
LINGER = 5.0

#: Seconds after which calls that wait are looked after.
LOOK_AGAIN = 0.05

#: Seconds before a thread is asked for again where the system had none to give, at most: at first
#: and in the end.
RETRY, LONGEST_RETRY = 0.1, 1.0


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
        self._pauses = Backoff(RETRY, LONGEST_RETRY)
        self._start_at = 0.0

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

    def look(self) -> float:
        """Start threads where calls wait and too few are free; the seconds until it is asked again.

        (At the latest; for ever where no call waits.)
        """
        if not self._calls:
            return inf
        now = time.monotonic()
        if now >= self._start_at:
            self._start_some(now)
        return max(LOOK_AGAIN, self._start_at - now) if self._calls else inf

    def _start_some(self, now: float) -> None:
        while (thread := self._wanted(now)) is not None:
            # (Not under the lock: with gevent another greenlet runs until the thread has started.)
            try:
                thread.start()
            except RuntimeError:
                with self._lock:
                    # It would count as free for ever.
                    self._running.pop(id(thread), None)
                if not self._pauses.failing:
                    logger.warning("%s. They wait", NoThread("calls at the end of connections"))
                self._start_at = now + self._pauses.next()
                return
            self._pauses.reset()

    def _wanted(self, now: float) -> threading.Thread | None:
        """One more thread, which counts as free from here on; ``None``: there are enough."""
        with self._lock:
            running = list(self._running.values())
            idle = running.count(None)
            stuck = sum(began is not None and now - began > STUCK_AFTER for began in running)
            if min(len(self._calls) - idle, FREE - (len(running) - stuck)) < 1:
                return None
            thread = threading.Thread(target=self._work, name="clustertoken-caller", daemon=True)
            self._running[id(thread)] = None
            return thread

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
