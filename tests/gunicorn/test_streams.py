"""Streams and sockets on real workers: all of them end in time, and nobody else's."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from simple_websocket import Client, ConnectionClosed
from socketio import Client as SocketIOClient
from socketio.exceptions import ConnectionError as SocketIOError

from flask_clustertoken.clock import SKEW
from tests.conftest import Tell
from tests.pace import moments
from tests.rounds import FULL, rounds
from tests.waiting import holds_for, wait_until

from .conftest import Serve
from .listeners import listening, login
from .server import COOKIE, GunicornServer

pytestmark = pytest.mark.gunicorn

WORKERS: dict[str, tuple[str, ...]] = {
    "gthread": ("--worker-class", "gthread", "--threads", str(rounds(80, 300))),
    "gevent": ("--worker-class", "gevent"),
}

#: Seconds within which a node knows of a revocation, or is stale.
BOUND = 10


def served(serve: Serve, way: str, **settings: object) -> GunicornServer:
    return serve(
        *WORKERS[way],
        workers=rounds(2, 4),
        app="tests.gunicorn.streaming:app",
        hooks=False,
        settings=settings,
    )


@pytest.mark.parametrize("path", ["/ticks", "/queue"])
@pytest.mark.parametrize("way", WORKERS)
def test_a_revocation_ends_every_stream_and_no_other(
    serve: Serve, way: str, path: str, tell: Tell
) -> None:
    """Of all workers, whether they were sending or waiting; each is told why."""
    server = served(serve, way)
    cookies = {name: login(server, name) for name in ("alice", "bob")}
    each = rounds(30, 250)
    with listening(server, path, cookies, each) as streams:
        began = time.monotonic()
        assert server.ask("POST", "/end/alice").body == b"in force"
        wait_until(lambda: all(one.ended_at for one in streams["alice"]), BOUND + moments(50))
        assert Counter(one.reason for one in streams["alice"]) == {"revoked": each}
        took = max(one.ended_at or 0 for one in streams["alice"]) - began
        holds_for(lambda: not any(one.ended_at for one in streams["bob"]), 1)
    tell(f"streams that a revocation ended ({way}, {path})", streams=each, seconds=round(took, 2))


@pytest.mark.skipif(not FULL, reason="a token is accepted for a minute beyond its expiry")
def test_an_expiry_ends_every_stream_unless_the_login_was_renewed(serve: Serve) -> None:
    """One browser goes on asking, of any worker; the other one only listens."""
    server = served(serve, "gthread", LIFETIME=20, RENEW_AFTER=5)
    cookies = {name: login(server, name) for name in ("alice", "bob")}
    with listening(server, "/ticks", cookies, 30) as streams:
        last = [cookies["bob"]]

        def bob_goes_on() -> bool:
            answer = server.ask("GET", "/me", cookie=last[0])
            assert answer.status == 200
            last[0] = answer.cookie or last[0]
            return all(one.ended_at for one in streams["alice"])

        wait_until(bob_goes_on, 20 + SKEW + BOUND)
        assert {one.reason for one in streams["alice"]} == {"expired"}
        holds_for(lambda: bob_goes_on() and not any(one.ended_at for one in streams["bob"]), 5)


@pytest.mark.parametrize("way", WORKERS)
def test_clients_that_read_nothing_hold_up_nobody(serve: Serve, way: str) -> None:
    """Dead lines, and ones that nobody reads, beside others that end in time."""
    server = served(serve, way)
    cookie = login(server, "alice")
    with ExitStack() as lines:
        for _ in range(10):
            line = lines.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            line.sendall(
                f"GET /ticks HTTP/1.1\r\nHost: x\r\nCookie: {COOKIE}={cookie}\r\n\r\n".encode()
            )
        with listening(server, "/ticks", {"alice": cookie}, 20) as streams:
            server.ask("POST", "/end/alice")
            wait_until(lambda: all(one.ended_at for one in streams["alice"]), BOUND + moments(50))
            assert {one.reason for one in streams["alice"]} == {"revoked"}


@pytest.mark.parametrize("way", WORKERS)
def test_streams_that_came_and_went_leave_nothing_behind(
    serve: Serve, way: str, tell: Tell
) -> None:
    """Clients that hang up, as browsers do: workers forget each, and take no more memory."""
    server = served(serve, way)
    cookie = login(server, "alice")
    count = rounds(200, 10_000)

    def visit(_: int) -> None:
        line = HTTPConnection("127.0.0.1", server.port, timeout=60)
        try:
            line.request("GET", "/ticks?every=0.05", headers={"Cookie": f"{COOKIE}={cookie}"})
            assert line.getresponse().readline().startswith(b"data: ")
        finally:
            line.close()

    with ThreadPoolExecutor(16) as visitors:
        list(visitors.map(visit, range(200)))
        before = forgotten(server)
        list(visitors.map(visit, range(count)))
    after = forgotten(server)
    grown = max(after[pid] - before[pid] for pid in after)
    # (A thread's or a generator's worth of each would be a multiple; arenas of the allocator
    # come and go with how many were open at once.)
    assert grown < 16 * 1024
    tell(f"streams opened and closed ({way})", streams=count, kib_grown=grown)


def forgotten(server: GunicornServer) -> dict[int, int]:
    """The memory of each worker (KiB), once none has a connection open."""
    found: dict[int, dict[str, int]] = {}

    def ask() -> bool:
        said = server.ask("GET", "/open").json
        found[said["pid"]] = said
        return found.keys() == set(server.pids()) and not any(one["open"] for one in found.values())

    wait_until(ask, 60)
    return {pid: one["memory"] for pid, one in found.items()}


def test_a_store_that_cannot_be_written_ends_all_streams(serve: Serve) -> None:
    """Nobody can vouch for the view: beyond the bound they end, and say that it is not known."""
    server = served(serve, "gthread", MAX_STALENESS=3)
    cookies = {name: login(server, name) for name in ("alice", "bob")}
    with listening(server, "/ticks", cookies, 15) as streams:
        both = [*streams["alice"], *streams["bob"]]
        (path,) = Path(server.shared).glob("*.sqlite3")
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as database:
            database.execute("BEGIN EXCLUSIVE")
            wait_until(lambda: all(one.ended_at for one in both), 3 + BOUND + moments(50))
            database.execute("ROLLBACK")
        assert {one.reason for one in both} == {"stale"}


# -- sockets ---------------------------------------------------------------------------


@pytest.mark.parametrize("way", WORKERS)
def test_a_revocation_closes_websockets_with_4401_and_the_reason(serve: Serve, way: str) -> None:
    """With flask-sock, and real clients; those of others go on."""
    server = served(serve, way)
    with ExitStack() as lines:

        def connect(cookie: str) -> Any:
            client = Client.connect(
                f"ws://127.0.0.1:{server.port}/echo", headers={"Cookie": f"{COOKIE}={cookie}"}
            )
            lines.callback(_quietly(client.close))
            # (It overlooks what comes along with the answer to its handshake.)
            client.send("hello")
            assert client.receive(timeout=30) == "hello"
            return client

        alices, bobs = (
            [connect(cookie) for _ in range(10)]
            for cookie in (login(server, "alice"), login(server, "bob"))
        )
        server.ask("POST", "/end/alice")
        for client in alices:
            with pytest.raises(ConnectionClosed) as closed:
                client.receive(timeout=BOUND)
            assert (closed.value.reason, closed.value.message) == (4401, "revoked")
        for client in bobs:
            client.send("still here")
            assert client.receive(timeout=30) == "still here"


@pytest.mark.parametrize("way", WORKERS)
def test_a_revocation_ends_socketio_sessions_with_the_reason(serve: Serve, way: str) -> None:
    """With Flask-SocketIO, and real clients; those of others go on, and nothing is left."""
    server = served(serve, way)
    with ExitStack() as lines:
        alices, bobs = (
            [lines.enter_context(Session(server, cookie)) for _ in range(5)]
            for cookie in (login(server, "alice"), login(server, "bob"))
        )
        for user, some in (("alice", alices), ("bob", bobs)):
            assert {one.say("hello") for one in some} == {f"{user}: hello"}
        server.ask("POST", "/end/alice")
        for one in alices:
            assert one.gone.wait(3 * BOUND)
            assert one.told == ["revoked"]
        assert {one.say("still here") for one in bobs} == {"bob: still here"}
        assert not any(one.gone.is_set() for one in bobs)
        # Whoever is not logged in any more is not let in again.
        with pytest.raises(ConnectionError):
            lines.enter_context(Session(server, alices[0].cookie))
    forgotten(server)


class Session:
    """A real Socket.IO client, and what it was told."""

    def __init__(self, server: GunicornServer, cookie: str) -> None:
        self.cookie = cookie
        self.told: list[str] = []
        self.gone = threading.Event()
        self._server = server
        self._client = SocketIOClient(reconnection=False, handle_sigint=False)
        self._client.on("end", self.told.append)
        self._client.on("disconnect", lambda *_: self.gone.set())

    def __enter__(self) -> Session:
        try:
            # (Another request of the same session may come to another worker: a socket alone.)
            self._client.connect(
                f"http://127.0.0.1:{self._server.port}",
                headers={"Cookie": f"{COOKIE}={self.cookie}"},
                transports=["websocket"],
                wait_timeout=30,
            )
        except SocketIOError as error:
            raise ConnectionError(str(error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.shutdown()

    def say(self, what: str) -> str:
        return str(self._client.call("say", what, timeout=30))


def _quietly(close: Callable[[], object]) -> Callable[[], object]:
    def closed() -> None:
        with suppress(ConnectionClosed, OSError):
            close()

    return closed
