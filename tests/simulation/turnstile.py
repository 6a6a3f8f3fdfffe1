"""Time that a test owns, for code that waits: threads of which one runs at a time.

A *process* is a thread that gives its turn away whenever it waits. The next one is whoever waits
for the earliest moment, and time jumps there. So real code with its loops, deadlines and pauses
runs through minutes in a second, and in the same order each time.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any


class Stopped(BaseException):
    """The test is over: a process that waits ends."""


@dataclass
class Process:
    """One of those who take turns."""

    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    #: Moves with each wait, so that what was to end an earlier one does nothing.
    ticket: int = 0


class Turnstile:
    """The processes, and the time by which they go."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._back = threading.Semaphore(0)
        self._mine = threading.local()
        self._threads: list[tuple[threading.Thread, Process]] = []
        self._stopping = False

    def time(self) -> float:
        return self.now

    monotonic = time

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Do *call*, which waits for nothing, at that time."""
        heapq.heappush(self._due, (max(when, self.now), next(self._order), call))

    def start(self, work: Callable[[], None]) -> None:
        """Begin another process now."""
        process = Process()

        def run() -> None:
            self._mine.process = process
            process.gate.acquire()
            try:
                if not self._stopping:
                    work()
            except Stopped:
                pass
            finally:
                self._back.release()

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append((thread, process))
        thread.start()
        self._wake_at(self.now, process)

    def here(self) -> Process:
        """The process that has its turn."""
        found: Process = self._mine.process
        return found

    def _wake_at(self, when: float, process: Process) -> None:
        ticket = process.ticket

        def wake() -> None:
            if process.ticket == ticket:
                process.ticket += 1
                process.gate.release()
                self._back.acquire()

        self.at(when, wake)

    def wake(self, process: Process) -> None:
        """End its wait; only for one that waits."""
        self._wake_at(self.now, process)

    def sleep(self, seconds: float) -> None:
        """Give the turn away for so long, or until somebody wakes this process."""
        process = self.here()
        if self._stopping:
            raise Stopped
        self._wake_at(self.now + seconds, process)
        self._back.release()
        process.gate.acquire()
        if self._stopping:
            raise Stopped

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            self.now, _, call = heapq.heappop(self._due)
            call()
        self.now = end

    def stop(self) -> None:
        """End every process."""
        self._stopping = True
        for thread, process in self._threads:
            process.gate.release()
            thread.join(10)


class Flag:
    """What ``threading.Event`` is, for one process that waits."""

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self._set = False
        self._waiting: Process | None = None

    def set(self) -> None:
        self._set = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._turnstile.wake(waiting)

    def clear(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def wait(self, seconds: float | None = None) -> bool:
        if not self._set:
            self._waiting = self._turnstile.here()
            self._turnstile.sleep(1e9 if seconds is None else seconds)
            self._waiting = None
        return self._set

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)
