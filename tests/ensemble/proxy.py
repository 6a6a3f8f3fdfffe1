"""A TCP proxy on loopback: a network that fails, in one direction or both, said or unsaid."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time


class Proxy:
    """Forwards one spare port to *target*; a thread of its own does the work."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._mode = "pass"
        self._rate = 0.0
        self._resting: dict[socket.socket, float] = {}
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._servers: set[socket.socket] = set()
        self._fillers: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def drop(self) -> None:
        """From now on nothing arrives, and nobody is told."""
        self._mode = "drop"

    def reject(self) -> None:
        """From now on connections end, and new ones are refused at once."""
        self._mode = "reject"

    def mute(self) -> None:
        """From now on what is sent arrives, and no answer comes back."""
        self._mode = "mute"

    def ignore(self) -> None:
        """From now on connections end, and an attempt to make one is not even answered."""
        self._mode = "ignore"

    def slow(self, rate: float) -> None:
        """From now on each connection carries *rate* bytes a second in each direction, 0: all."""
        self._rate = rate

    def heal(self) -> None:
        """Let everything pass again; what was swallowed meanwhile is lost with its connection."""
        self._mode = "pass" if self._mode == "reject" else "heal"

    def close(self) -> None:
        self._closed.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._closed.is_set():
            if self._mode in ("reject", "ignore", "heal"):
                for one in list(self._pairs):
                    self._end(one)
            if self._mode == "ignore":
                self._fill()
                self._closed.wait(0.05)
                continue
            if self._mode == "heal":
                self._mode = "pass"
            if self._fillers:
                self._listener.listen()
                while self._fillers:
                    self._fillers.pop().close()
            for key, _ in self._selector.select(self._wake()):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._forward(key.fileobj)
        for one in list(self._pairs):
            self._end(one)
        for filler in self._fillers:
            filler.close()
        self._selector.close()
        self._listener.close()

    def _wake(self) -> float:
        """Let those go on that have rested; seconds until the next one may."""
        now = time.monotonic()
        for one in [one for one, until in self._resting.items() if until <= now]:
            del self._resting[one]
            self._selector.register(one, selectors.EVENT_READ)
        return min([0.05, *(until - now for until in self._resting.values())])

    def _fill(self) -> None:
        """Leave no room in the queue of connections to accept: Linux drops what comes then."""
        if not self._fillers:
            self._listener.listen(0)
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(self._listener.getsockname())
                self._fillers.append(filler)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._mode == "reject":
            client.close()
            return
        try:
            server = socket.create_connection(self._target, 1.0)
        except OSError:
            client.close()
            return
        self._servers.add(server)
        for one, other in ((client, server), (server, client)):
            one.setblocking(True)
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, one: socket.socket) -> None:
        if one not in self._pairs:
            return
        try:
            data = one.recv(min(65536, int(self._rate / 50) or 65536))
            if not data:
                raise ConnectionError
            if self._mode != "drop" and not (self._mode == "mute" and one in self._servers):
                self._pairs[one].sendall(data)
            if self._rate:
                self._selector.unregister(one)
                self._resting[one] = time.monotonic() + len(data) / self._rate
        except OSError:
            self._end(one)

    def _end(self, one: socket.socket) -> None:
        other = self._pairs.pop(one, None)
        for side in (one, other):
            if side is None:
                continue
            self._pairs.pop(side, None)
            self._servers.discard(side)
            self._resting.pop(side, None)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(side)
            side.close()
