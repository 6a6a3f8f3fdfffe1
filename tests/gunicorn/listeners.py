"""Clients of server-sent events, which take down how their streams end."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from tests.waiting import wait_until

from .server import COOKIE, GunicornServer


class Listener(threading.Thread):
    """A client of server-sent events, which takes down what it was told at the end."""

    def __init__(self, server: GunicornServer, path: str, cookie: str) -> None:
        super().__init__(daemon=True)
        self._line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self._line.request("GET", path, headers={"Cookie": f"{COOKIE}={cookie}"})
        assert self._line.sock is not None
        self._socket = self._line.sock
        self.begun = threading.Event()
        self.reason = ""
        self.ended_at: float | None = None
        self.start()

    def run(self) -> None:
        named = ""
        with suppress(OSError, http.client.HTTPException):
            for line in self._line.getresponse():
                field, _, value = line.decode().strip().partition(": ")
                if field == "event":
                    named = value
                elif field == "data" and named == "end":
                    self.reason = value
                elif field == "data":
                    self.begun.set()
        self.ended_at = time.monotonic()

    def hang_up(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.join(30)
        self._line.close()


@contextmanager
def listening(
    server: GunicornServer, path: str, cookies: dict[str, str], each: int
) -> Iterator[dict[str, list[Listener]]]:
    """So many streams for each of *cookies*, all of them begun."""
    with ExitStack() as lines:
        opened = {
            name: [Listener(server, path, cookie) for _ in range(each)]
            for name, cookie in cookies.items()
        }
        for one in (one for some in opened.values() for one in some):
            lines.callback(one.hang_up)
        wait_until(lambda: all(one.begun.is_set() for some in opened.values() for one in some), 60)
        yield opened


def login(server: GunicornServer, name: str) -> str:
    answer = server.ask("POST", f"/login?as={name}")
    assert answer.cookie
    return answer.cookie
