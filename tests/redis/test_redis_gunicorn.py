"""gunicorn of every kind on a real Redis server, as somebody runs it."""

from __future__ import annotations

import random
import time
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


def serve(
    folder: Path, url: str, *options: str, node: str, workers: int = 2, **settings: object
) -> GunicornServer:
    (folder / node).mkdir(exist_ok=True)
    return GunicornServer(
        folder / node,
        *options,
        workers=workers,
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
        wait_until(lambda: all(red.me(cookie).status == 401 for _ in range(8)), 60)
        again = red.login()
        assert {blue.me(again).status for _ in range(8)} == {200}
        assert "Traceback" not in red.said() + blue.said()


def test_revoked_on_a_random_worker_asked_on_all(
    url: str, realm: str, tmp_path: Path, tell: Tell
) -> None:
    """Every worker of two hosts accepts a login, one of them ends it, and then none accepts it.

    Once a worker has refused it, it refuses it for good. (Each is asked over a line of its own:
    which worker takes a new one is for the kernel to say, and it has favourites.)
    """
    accepted, waited, count = 0, [0.0], rounds(30, 10_000)
    threads = ("--worker-class", "gthread", "--threads", "4", "--keep-alive", "600")
    with (
        serve(tmp_path, url, *threads, node="red", REALM=realm) as red,
        serve(tmp_path, url, *threads, node="blue", REALM=realm) as blue,
    ):
        lines = [(host, line) for host in (red, blue) for line in host.line_to_each().values()]
        assert len(lines) == 4

        def asked(cookie: str) -> list[int]:
            return [host.me(cookie, line=line).status for host, line in lines]

        for _ in range(count):
            host, line = random.choice(lines)
            cookie = host.login(line=line)
            assert asked(cookie) == [200] * 4
            host, line = random.choice(lines)
            assert host.ask("POST", "/logout", cookie=cookie, line=line).status == 200
            assert host.me(cookie, line=line).status == 401
            began, refused = time.monotonic(), [False] * 4
            while not all(refused):
                told = asked(cookie)
                assert time.monotonic() - began < 60, told
                assert set(told) <= {200, 401}, told
                accepted += any(
                    before and one == 200 for before, one in zip(refused, told, strict=True)
                )
                refused = [one == 401 for one in told]
            waited.append(time.monotonic() - began)
            accepted += asked(cookie) != [401] * 4
        for _, line in lines:
            line.close()
    waited.sort()
    tell(
        "redis: revoked on a random worker, then asked of all four on two hosts",
        revocations=count,
        accepted_after_a_refusal=accepted,
        all_refused_within=f"{waited[len(waited) * 99 // 100] * 1000:,.0f} ms (p99)",
    )
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
        gone = time.monotonic()
        assert server.me(cookie).status in (200, 503)
        own_server.start()
        # (Not until somebody is let in: that may be by a contact of before. A worker whose lease
        # ends while nobody vouches for the new history answers 503 until somebody does.)
        server.wait_fresh(since=gone)
        assert {server.me(cookie).status for _ in range(8)} == {200}
        assert {server.me(out).status for _ in range(8)} == {401}
        assert server.me(server.login()).status == 200
