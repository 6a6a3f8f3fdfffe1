"""gunicorn of every kind on a real Redis server, as somebody runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Tell
from tests.gunicorn.server import GunicornServer
from tests.rounds import rounds
from tests.servers.redis import Server
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.gunicorn]

SECRET = "one key for every host of the test, long enough"

WAYS = {
    "sync": (),
    "gthread": ("--worker-class", "gthread", "--threads", "8"),
    "gevent": ("--worker-class", "gevent"),
    "preload": ("--preload",),
    "preloaded gevent": ("--preload", "--worker-class", "gevent"),
}


def serve(folder: Path, url: str, *options: str, node: str, **settings: object) -> GunicornServer:
    (folder / node).mkdir(exist_ok=True)
    return GunicornServer(
        folder / node,
        *options,
        workers=2,
        node=node,
        settings={"STORE": url, "SECRET": SECRET, **settings},
    )


@pytest.mark.parametrize("way", WAYS)
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
        wait_until(lambda: all(red.me(cookie).status == 401 for _ in range(8)), 5)
        again = red.login()
        assert {blue.me(again).status for _ in range(8)} == {200}
        assert "Traceback" not in red.said() + blue.said()


def test_revoked_on_a_random_worker_asked_on_all(
    url: str, realm: str, tmp_path: Path, tell: Tell
) -> None:
    """Round after round, no worker accepts what another one has confirmed as revoked."""
    accepted, count = 0, rounds(100, 10_000)
    with serve(tmp_path, url, "--workers", "4", node="one", REALM=realm) as server:
        for _ in range(count):
            cookie = server.login()
            assert server.me(cookie).status == 200
            assert server.ask("POST", "/logout", cookie=cookie).status == 200
            wait_until(lambda cookie=cookie: server.me(cookie).status == 401, 10)
        for _ in range(12):
            accepted += server.me(cookie).status == 200
    tell("redis: log-outs on a random worker", rounds=count, accepted=accepted)
    assert accepted == 0


def test_a_server_that_restarts_logs_nobody_out(own_server: Server, tmp_path: Path) -> None:
    """Requests are answered from what is known, or with 503 and the cookie kept."""
    own_server.ask("CONFIG", "SET", "appendonly", "yes")
    own_server.ask("CONFIG", "REWRITE")
    url = f"redis://127.0.0.1:{own_server.port}"
    with serve(tmp_path, url, "--worker-class", "gthread", "--threads", "4", node="one") as server:
        cookie, out = server.login(), server.login()
        assert server.ask("POST", "/logout", cookie=out).status == 200
        own_server.kill()
        assert server.me(cookie).status in (200, 503)
        own_server.start()
        wait_until(lambda: all(server.me(cookie).status == 200 for _ in range(8)), 20)
        assert {server.me(out).status for _ in range(8)} == {401}
        assert server.me(server.login()).status == 200
