"""Revoked means revoked: on every worker, for every request that starts afterwards."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from tests.conftest import Tell
from tests.rounds import rounds
from tests.waiting import wait_until

from .conftest import Serve
from .server import GunicornServer

pytestmark = pytest.mark.gunicorn

#: How gunicorn is run; how many rounds by default, and how many of ten thousand in full.
WAYS = {
    "sync": ((), 30, 5_000),
    "gthread": (("--worker-class", "gthread", "--threads", "8"), 30, 1_500),
    "gevent": (("--worker-class", "gevent"), 30, 1_500),
    "preload": (("--preload",), 20, 1_000),
    "preloaded gevent": (("--preload", "--worker-class", "gevent"), 20, 500),
    "max-requests": (("--max-requests", "40", "--max-requests-jitter", "40"), 25, 500),
}

Revoke = Callable[[GunicornServer, str], None]


def log_out(server: GunicornServer, cookie: str) -> None:
    assert server.ask("POST", "/logout", cookie=cookie).status == 200


def end_from_another_device(server: GunicornServer, cookie: str) -> None:
    token_id = server.me(cookie).json["token_id"]
    other = server.login()
    assert server.ask("DELETE", f"/api/tokens/{token_id}", cookie=other).status == 200


def log_out_everywhere(server: GunicornServer, cookie: str) -> None:
    assert server.ask("POST", "/logout-everywhere", cookie=cookie).status == 200


def be_logged_out_by_an_admin(server: GunicornServer, cookie: str) -> None:
    admin = server.login("admin")
    assert server.ask("POST", "/api/subjects/alice/logout", cookie=admin).status == 200


def log_in_as_somebody_else(server: GunicornServer, cookie: str) -> None:
    bob = {"username": "bob", "password": "bob"}
    assert server.ask("POST", "/login", cookie=cookie, data=bob).status == 200


REVOKE: tuple[Revoke, ...] = (
    log_out,
    end_from_another_device,
    log_out_everywhere,
    be_logged_out_by_an_admin,
    log_in_as_somebody_else,
)


@pytest.mark.parametrize("way", WAYS)
def test_a_revoked_token_is_refused_by_every_worker_at_once(
    serve: Serve, way: str, tell: Tell
) -> None:
    """After the answer to a revocation, whichever worker gave it, no worker accepts the token."""
    options, *often = WAYS[way]
    server = serve(*options)
    spoke: Counter[int] = Counter()
    for number in range(rounds(*often)):
        cookie = server.login()
        known = server.at_once(cookie, 6)
        assert [one.status for one in known] == [200] * 6, (number, known)

        random.choice(REVOKE)(server, cookie)

        for answer in server.at_once(cookie, 12):
            assert (answer.status, answer.json["reason"]) == (401, "revoked"), number
            spoke[answer.pid] += 1
    tell(
        f"revoked by a random worker, then asked of all: {way}",
        revocations=number + 1,
        requests_afterwards=spoke.total(),
        accepted=0,
    )
    assert len(spoke) >= server.workers
    assert all(one.status == 401 for each in server.of_all_workers(cookie).values() for one in each)


def test_an_api_token_ends_on_every_worker(serve: Serve) -> None:
    """An API token outlives "log out everywhere", and ends on all workers when it is revoked."""
    server = serve()
    for _ in range(rounds(10, 200)):
        cookie = server.login()
        made = server.ask("POST", "/api/tokens", cookie=cookie, data={"name": "robot"}).json
        server.ask("POST", "/logout-everywhere", cookie=cookie)
        robot = [server.ask("GET", "/api/me", bearer=made["text"]) for _ in range(8)]
        assert [(one.status, one.json["kind"]) for one in robot] == [(200, "api")] * 8

        again = server.login()
        ended = server.ask("DELETE", f"/api/tokens/{made['token']['id']}", cookie=again)

        assert ended.status == 200
        assert [server.ask("GET", "/api/me", bearer=made["text"]).status for _ in range(8)] == (
            [401] * 8
        )


def test_a_login_right_after_logging_out_everywhere_is_good(serve: Serve) -> None:
    """The next login is not born revoked, on any worker."""
    server = serve()
    for _ in range(rounds(10, 1_000)):
        old = server.login()
        assert server.ask("POST", "/logout-everywhere", cookie=old).status == 200

        new = server.login()

        assert [one.status for one in server.at_once(new, 8)] == [200] * 8
        assert [one.status for one in server.at_once(old, 8)] == [401] * 8


def test_keeping_this_device_ends_the_others(serve: Serve) -> None:
    """Logging out the others hands this browser a new token; the old copy ends with the rest."""
    server = serve()
    for _ in range(rounds(10, 200)):
        here, there = server.login(), server.login()

        kept = server.ask("POST", "/logout-everywhere", cookie=here, data={"keep": True})

        assert kept.cookie
        assert {one.status for one in server.at_once(kept.cookie, 8)} == {200}
        assert {one.status for one in server.at_once(here, 8)} == {401}
        assert {one.status for one in server.at_once(there, 8)} == {401}


@pytest.mark.parametrize("hooks", [True, False], ids=["with hooks", "without hooks"])
def test_the_first_request_of_a_fresh_worker_is_answered_truthfully(
    serve: Serve, hooks: bool
) -> None:
    """A worker that never saw a token accepts a good one and refuses a revoked one."""
    server = serve("--max-requests", "1", workers=3, hooks=hooks)
    good, revoked = server.login(), server.login()
    assert server.ask("POST", "/logout", cookie=revoked).status == 200
    spoke = set()
    count = rounds(4, 100)
    for _ in range(count):
        for cookie, status in ((revoked, 401), (good, 200)):
            answer = server.me(cookie)
            spoke.add(answer.pid)
            assert answer.status == status

    assert len(spoke) == 2 * count


def test_a_worker_that_leaves_is_not_listed(serve: Serve) -> None:
    """With the hooks, a worker that ends takes its entry out of the list of nodes."""
    server = serve("--max-requests", "2", workers=2)
    cookie = server.login()
    for _ in range(20):
        assert server.me(cookie).status == 200
    wait_until(lambda: server.listed() == set(server.pids()))
