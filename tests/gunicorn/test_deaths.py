"""Workers die and freeze at the worst moment; what was acknowledged stands."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException

import pytest

from tests.conftest import Tell
from tests.rounds import rounds
from tests.waiting import holds_for, wait_until

from .conftest import Serve
from .server import COOKIE, GunicornServer

pytestmark = pytest.mark.gunicorn


class Traffic:
    """Clients that log in, come back and leave, and note what was acknowledged to them."""

    def __init__(self, server: GunicornServer, clients: int = 6) -> None:
        self._server = server
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._live) for _ in range(clients)]
        #: Acknowledged logins that nobody tried to end, and acknowledged revocations.
        self.alive: set[str] = set()
        self.ended: set[str] = set()
        self.visits = 0
        self.renewed = 0
        self.interrupted = 0
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _live(self) -> None:
        while not self._stop.is_set():
            try:
                self._visit()
            except (OSError, HTTPException):
                self.interrupted += 1
            except Exception as error:
                self.wrong.append(repr(error))

    def _visit(self) -> None:
        server = self._server
        with self._lock:
            self.visits += 1
        name = random.choice(["alice", "bob"])
        answer = server.ask("POST", "/login", data={"username": name, "password": name})
        if answer.status != 200 or not answer.cookie:
            self.wrong.append(f"login: {answer.status} {answer.body!r}")
            return
        cookie = answer.cookie
        with self._lock:
            self.alive.add(cookie)
        if (look := server.me(cookie)).status != 200:
            self.wrong.append(f"after login: {look.status} {look.body!r}")
        elif look.cookie:
            # Both copies are good now.
            self.renewed += 1
        if random.random() < 0.6:
            with self._lock:
                # From here on nobody knows, until it is acknowledged.
                self.alive.discard(cookie)
            left = server.ask("POST", "/logout", cookie=cookie)
            if left.status != 200:
                self.wrong.append(f"logout: {left.status} {left.body!r}")
                return
            with self._lock:
                self.ended.add(cookie)
            if (look := server.me(cookie)).status != 401:
                self.wrong.append(f"after logout: {look.status} {look.body!r}")


def test_killed_workers_leave_the_store_whole(serve: Serve, tell: Tell) -> None:
    """Workers are killed while logging in, renewing and revoking: nothing acknowledged is lost."""
    server = serve(settings={"ALWAYS_RENEW": "yes", "LIFETIME": 3600, "RENEW_AFTER": 1})
    with Traffic(server) as traffic:
        kills = rounds(12, 1_000)
        for _ in range(kills):
            # The next one after some more visits, at any point of one.
            more = traffic.visits + random.randrange(1, 40)
            wait_until(lambda more=more: traffic.visits >= more)
            with suppress(IndexError, ProcessLookupError):
                os.kill(random.choice(server.pids()), signal.SIGKILL)
        wait_until(lambda: len(server.pids()) == server.workers)
    wait_until(lambda: len(server.pids()) == server.workers)

    tell(
        "workers killed under traffic",
        kills=kills,
        logins_kept=len(traffic.alive),
        revocations_kept=len(traffic.ended),
        wrong=len(traffic.wrong),
    )
    assert not traffic.wrong, traffic.wrong[:5]
    assert traffic.interrupted
    assert traffic.alive
    assert traffic.ended
    for cookie in traffic.ended:
        assert server.me(cookie).status == 401
    for cookie in traffic.alive:
        assert server.me(cookie).status == 200
    for answer in server.of_all_workers(next(iter(traffic.ended))).values():
        assert answer[0].status == 401
    names = sorted(one.name for one in server.shared.iterdir())
    assert not [name for name in names if "damaged" in name or "corrupt" in name], names
    server.stop()
    with closing(sqlite3.connect(server.shared / "default.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_restart_forgets_nothing(serve: Serve) -> None:
    """Killed with all its workers and started again, gunicorn knows both logins and revocations."""
    server = serve(workers=2)
    for _ in range(rounds(2, 20)):
        good, revoked = server.login(), server.login()
        assert server.ask("POST", "/logout", cookie=revoked).status == 200

        os.killpg(server.pid, signal.SIGKILL)
        server.stop()
        server.start()

        assert {one.status for one in server.at_once(revoked, 8)} == {401}
        assert {one.status for one in server.at_once(good, 8)} == {200}


class Line:
    """One open connection, and so one worker."""

    def __init__(self, server: GunicornServer) -> None:
        self._connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.pid = 0

    def send(self, cookie: str) -> None:
        self._connection.request("GET", "/api/me", headers={"Cookie": f"{COOKIE}={cookie}"})

    def receive(self) -> int:
        response = self._connection.getresponse()
        response.read()
        self.pid = int(response.headers["X-Answered-By"].rpartition("/")[2])
        return response.status

    def me(self, cookie: str) -> int:
        self.send(cookie)
        return self.receive()

    def close(self) -> None:
        self._connection.close()


def line_to_another(server: GunicornServer, pid: int, cookie: str) -> Line:
    """A connection to a worker that is not *pid*."""
    while True:
        line = Line(server)
        if line.me(cookie) == 200 and line.pid != pid:
            return line
        line.close()


@pytest.mark.parametrize("frozen_for", [0.3, 2.5], ids=["shortly", "beyond its lease"])
def test_a_frozen_worker_refuses_with_its_first_answer(serve: Serve, frozen_for: float) -> None:
    """A worker that was suspended while a token was revoked never accepts it when it wakes."""
    server = serve(
        *("--worker-class", "gthread", "--threads", "4", "--keep-alive", "60"),
        workers=2,
        settings={"MAX_STALENESS": 1},
    )
    for _ in range(rounds(2, 20)):
        cookie, honest = server.login(), server.login()
        frozen = Line(server)
        assert frozen.me(cookie) == 200
        assert frozen.me(honest) == 200
        awake = line_to_another(server, frozen.pid, cookie)
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            frozen.send(cookie)
            assert leave(awake, cookie) == 200
            holds_for(lambda awake=awake, cookie=cookie: awake.me(cookie) == 401, frozen_for)
        finally:
            os.kill(frozen.pid, signal.SIGCONT)

        assert frozen.receive() in (401, 503)
        assert frozen.me(cookie) == 401
        assert frozen.me(honest) == 200
        assert awake.me(cookie) == 401
        awake.close()
        frozen.close()


def leave(line: Line, cookie: str) -> int:
    line._connection.request("POST", "/logout", headers={"Cookie": f"{COOKIE}={cookie}"})
    return line.receive()


@pytest.mark.parametrize("ask", [signal.SIGHUP, signal.SIGTTIN], ids=["reload", "one more"])
def test_workers_come_and_go_under_traffic(serve: Serve, ask: signal.Signals) -> None:
    """While workers are replaced or added, no honest request is refused and none revoked passes."""
    server = serve(workers=2)
    good, revoked = server.login(), server.login()
    assert server.ask("POST", "/logout", cookie=revoked).status == 200
    before = set(server.pids())
    os.kill(server.pid, ask)
    came: Callable[[], bool] = lambda: bool(set(server.pids()) - before)  # noqa: E731
    while not came():
        assert server.me(good).status == 200
        assert server.me(revoked).status == 401
    for _ in range(40):
        assert server.me(good).status == 200
        assert server.me(revoked).status == 401
