"""Listening: the thread in which a process takes its part in a stream. Wait, step, wait."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from ..authority import TokenAuthority
from ..events import NodeFresh, NodeLeaving
from .stream import Stream


class Listening:
    """Gives each process of an app its own part, once it is a node; a fork's child another."""

    def __init__(self, authority: TokenAuthority, make: Callable[[], Stream]) -> None:
        self._authority = authority
        self._make = make
        self._pid = 0
        self._leaving = threading.Event()
        self._stepping = threading.Lock()
        #: This process's part, once it has one.
        self.stream: Stream | None = None

    def attach(self) -> None:
        """Begin when this process becomes a node, and end when it leaves."""
        self._authority.events.listen(NodeFresh, lambda _: self._join())
        self._authority.events.listen(NodeLeaving, lambda _: self._leave())
        self._authority.runtime.listening.append(self._silence)

    def _silence(self) -> str:
        return self.stream.silence if self.stream is not None else ""

    def part(self) -> Stream:
        """This process's part. Whoever steps it is the only one."""
        if self.stream is None or self._pid != os.getpid():
            self._pid, self._leaving, self._stepping = (
                os.getpid(),
                threading.Event(),
                threading.Lock(),
            )
            self.stream = self._make()
        return self.stream

    def _join(self) -> None:
        # (A store of one process alone starts no threads: tests take the steps.)
        if not self._authority.active or not self._authority.store.shared:
            return
        if self.stream is not None and self._pid == os.getpid():
            return
        stream = self.part()
        leaving, stepping = self._leaving, self._stepping

        def run() -> None:
            pause = 0.0
            while not leaving.wait(pause):
                with stepping:
                    pause = stream.step()

        threading.Thread(target=run, name="clustertoken-signals", daemon=True).start()

    def _leave(self) -> None:
        if self.stream is None or self._pid != os.getpid():
            return
        self._leaving.set()
        # (A step under way ends within its calls' time; the store is closed behind this.)
        if self._stepping.acquire(timeout=self._authority.store.timeout):
            try:
                self.stream.leave()
            finally:
                self._stepping.release()
