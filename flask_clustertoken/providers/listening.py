"""Listening: the thread in which a process takes its part in a stream. Wait, step, wait."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from ..authority import TokenAuthority
from ..errors import NoThread
from ..events import NodeFresh, NodeLeaving
from .stream import Stream

logger = logging.getLogger(__name__)

_NOT_HEARD = str(NoThread("listening to security events"))


class Listening:
    """Gives each process of an app its own part, once it is a node; a fork's child another."""

    def __init__(self, authority: TokenAuthority, make: Callable[[], Stream]) -> None:
        self._authority = authority
        self._make = make
        self._pid = 0
        self._leaving = threading.Event()
        self._stepping = threading.Lock()
        self._late = False
        #: This process's part, once it has one.
        self.stream: Stream | None = None

    def attach(self) -> None:
        """Begin when this process becomes a node, and end when it leaves."""
        self._authority.events.listen(NodeFresh, lambda _: self._join())
        self._authority.events.listen(NodeLeaving, lambda _: self._leave())
        self._authority.runtime.listening.append(self._silence)
        self._authority.runtime.after_step.append(self._join_late)

    def _silence(self) -> str:
        if self._late:
            return _NOT_HEARD
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

        try:
            threading.Thread(target=run, name="clustertoken-signals", daemon=True).start()
        except RuntimeError:
            # (The node stays fresh, and nothing else would say so again: each step tries.)
            self.stream, late, self._late = None, self._late, True
            if not late:
                logger.warning("%s", _NOT_HEARD)
            return
        self._late = False

    def _join_late(self) -> None:
        if self._late:
            self._join()

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
