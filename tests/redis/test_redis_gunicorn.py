"""gunicorn of every kind on a real Redis server, as somebody runs it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.conftest import Tell
from tests.gunicorn.random_workers import KEEPING, revoked_and_asked
from tests.gunicorn.ways import ON_A_STORE, WAYS, serve
from tests.rounds import rounds
from tests.servers.redis import Server
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.gunicorn]


@pytest.mark.parametrize("way", ON_A_STORE)
def test_every_kind_of_worker_logs_in_and_out(
    way: str, url: str, realm: str, tmp_path: Path
) -> None:
    """A login on one host is good on the other; a log-out there is one here."""
    with (
        serve(tmp_path, url, *WAYS[way], node="red", REALM=realm) as red,
        serve(tmp_path, url, *WAYS[way], node="blue", REALM=realm) as blue,
    ):
        cookie = red.login()
        assert {blue.me(cookie).status for _ in range(8)} == {200}
        assert blue.ask("POST", "/logout", cookie=cookie).status == 200
        wait_until(lambda: all(red.me(cookie).status == 401 for _ in range(8)), 60)
        again = red.login()
        assert {blue.me(again).status for _ in range(8)} == {200}
        assert "Traceback" not in red.said() + blue.said()


def test_revoked_on_a_random_worker_asked_on_all(
    url: str, realm: str, tmp_path: Path, tell: Tell
) -> None:
    """Each of the four accepts a login, one of them ends it, and who refuses it once goes on to."""
    with (
        serve(tmp_path, url, *KEEPING, node="red", REALM=realm) as red,
        serve(tmp_path, url, *KEEPING, node="blue", REALM=realm) as blue,
    ):
        counted = revoked_and_asked((red, blue), rounds(30, 10_000))
    tell("redis: revoked on a random worker, then asked of all four on two hosts", **counted.told())
    assert counted.accepted == 0


def test_a_server_that_restarts_logs_nobody_out(own_server: Server, tmp_path: Path) -> None:
    """Requests are answered from what is known, or with 503 and the cookie kept."""
    own_server.ask("CONFIG", "SET", "appendonly", "yes")
    own_server.ask("CONFIG", "REWRITE")
    url = f"redis://127.0.0.1:{own_server.port}"
    with serve(tmp_path, url, "--worker-class", "gthread", "--threads", "4", node="one") as server:
        cookie, out = server.login(), server.login()
        assert server.ask("POST", "/logout", cookie=out).status == 200
        own_server.kill()
        gone = time.monotonic()
        assert server.me(cookie).status in (200, 503)
        own_server.start()
        # (Not until somebody is let in: that may be by a contact of before. A worker whose lease
        # ends while nobody vouches for the new history answers 503 until somebody does.)
        server.wait_fresh(since=gone)
        assert {server.me(cookie).status for _ in range(8)} == {200}
        assert {server.me(out).status for _ in range(8)} == {401}
        assert server.me(server.login()).status == 200
