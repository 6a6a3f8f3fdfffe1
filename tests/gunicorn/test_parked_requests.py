"""Requests that wait for their body while their login is revoked: nothing is made of it."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import ExitStack
from itertools import count

import pytest

from tests.conftest import Tell
from tests.rounds import rounds
from tests.waiting import wait_until

from .conftest import Serve
from .server import COOKIE, GunicornServer

pytestmark = pytest.mark.gunicorn

KINDS = ("others", "again", "api-token")
ENDINGS = ("id", "subject", "everything")
#: Requests of each kind that wait on one login at a time.
AT_ONCE = 20

_numbers = count()


class Parked:
    """A request whose last byte has not been sent."""

    def __init__(self, server: GunicornServer, kind: str, cookie: str) -> None:
        number = next(_numbers)
        self.looked = server.folder / "instance" / f"looked-{number}"
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        self._socket.sendall(
            f"POST /{kind}?n={number} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Cookie: {COOKIE}={cookie}\r\nContent-Length: 2\r\n\r\nx".encode()
        )

    def finish(self) -> bytes:
        """Send what was missing; the whole answer."""
        answer = b""
        with self._socket as line:
            line.sendall(b"y")
            while piece := line.recv(65_536):
                answer += piece
        return answer

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("token_store", ["session", "cookie"])
def test_a_parked_request_makes_nothing_of_a_login_that_was_ended(
    serve: Serve, token_store: str, tell: Tell
) -> None:
    """Of each kind, against each kind of revocation: not one gets a cookie or an API token."""
    server = serve(
        *("--worker-class", "gthread", "--threads", "80"),
        workers=2,
        app="tests.gunicorn.parked:app",
        hooks=False,
        settings={"TOKEN_STORE": token_store},
    )
    answers: Counter[int] = Counter()
    for ending in ENDINGS:
        for _ in range(rounds(40, 1000) // AT_ONCE):
            login = server.ask("POST", "/login")
            assert login.cookie
            with ExitStack() as open_lines:
                parked = [Parked(server, kind, login.cookie) for kind in KINDS * AT_ONCE]
                for one in parked:
                    open_lines.callback(one.close)
                wait_until(lambda waiting=parked: all(one.looked.exists() for one in waiting), 60)
                ended = server.ask("POST", f"/end/{ending}?id={login.body.decode()}")
                assert ended.body == b"in force"
                for one in parked:
                    answer = one.finish()
                    assert answer.startswith(b"HTTP/1.1 401 "), answer
                    assert b"set-cookie" not in answer.lower(), answer
                    answers[401] += 1
                    one.looked.unlink()
            assert server.ask("GET", "/me", cookie=login.cookie).status == 401
    each = rounds(40, 1000)
    assert answers[401] == len(ENDINGS) * len(KINDS) * each
    tell(f"parked requests, {token_store}", refused=answers[401], issued=0)
