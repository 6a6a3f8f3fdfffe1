"""gunicorn of every kind on a real ensemble: starts, tells the truth, and starts again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.base import CALL_TIMEOUT
from tests.conftest import Tell
from tests.gunicorn.server import GunicornServer
from tests.gunicorn.ways import SECRET, WAYS, serve
from tests.pace import moments
from tests.rounds import rounds
from tests.servers.ports import spare_ports
from tests.servers.zookeeper import Ensemble
from tests.waiting import wait_until

pytestmark = [pytest.mark.zookeeper, pytest.mark.gunicorn]


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_worker_logs_in_and_out(
    way: str, ensemble: Ensemble, zk_root: str, tmp_path: Path
) -> None:
    """A login on one host is good on the other; a log-out there is one here."""
    url = ensemble.url(zk_root)
    with (
        serve(tmp_path, url, *WAYS[way], node="red", workers=1) as red,
        serve(tmp_path, url, *WAYS[way], node="blue") as blue,
    ):
        cookie = red.login()
        assert {blue.me(cookie).status for _ in range(8)} == {200}
        assert blue.ask("POST", "/logout", cookie=cookie).status == 200

        wait_until(lambda: all(red.me(cookie).status == 401 for _ in range(8)), 5 + moments(50))
        again = red.login()
        assert {blue.me(again).status for _ in range(8)} == {200}


@pytest.fixture(scope="module")
def judge(
    running_ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GunicornServer, str]]:
    """A host that is there already, and the store that it is on: who starts beside it is asked."""
    url = running_ensemble.url(f"/judged-{os.getpid()}/app")
    with serve(tmp_path_factory.mktemp("judge"), url, node="judge", workers=1) as judge:
        yield judge, url


@pytest.mark.parametrize("way", WAYS)
def test_the_first_request_is_answered_at_once_and_truly(
    way: str, ensemble: Ensemble, judge: tuple[GunicornServer, str], tmp_path: Path, tell: Tell
) -> None:
    """Start after start, nothing hangs, and the first answer of a worker knows what was revoked."""
    other, url = judge
    good, bad = other.login(), other.login()
    assert other.ask("POST", "/logout", cookie=bad).status == 200
    starts = rounds(1, 20)
    for _ in range(starts):
        with serve(tmp_path, url, *WAYS[way], node="fresh", hooks=False) as fresh:
            first = [fresh.me(cookie).status for cookie in (bad, good, bad, good)]

            assert first == [401, 200, 401, 200]
    tell(f"gunicorn started on ZooKeeper: {way}", starts=starts, hung=0)


def test_two_deployments_share_a_login_and_nothing_else(
    ensemble: Ensemble, zk_root: str, tmp_path: Path
) -> None:
    """QA and production of one realm: one login, shared data and other settings apart."""
    url = ensemble.url(zk_root)
    with (
        serve(tmp_path, url, node="qa", DEPLOYMENT="qa", LIFETIME=7200, RENEW_AFTER=60) as qa,
        serve(tmp_path, url, node="prod", workers=1, DEPLOYMENT="production") as production,
    ):
        cookie = qa.login()
        assert production.me(cookie).status == 200
        assert qa.ask("GET", "/pages/everywhere", cookie=cookie).status == 200

        assert "everywhere" in str(qa.ask("GET", "/api/recent", cookie=cookie).json)
        assert "everywhere" not in str(production.ask("GET", "/api/recent", cookie=cookie).json)
        assert production.ask("POST", "/logout", cookie=cookie).status == 200
        wait_until(lambda: qa.me(cookie).status == 401, 5 + moments(50))


def test_what_must_agree_and_does_not_is_named_at_the_start(
    ensemble: Ensemble, zk_root: str, tmp_path: Path
) -> None:
    """Another secret, cookie name or lifetime on one host is said in its log when it starts."""
    url = ensemble.url(zk_root)
    with serve(tmp_path, url, node="right", workers=1):
        wrong = {"COOKIE_NAME": "other", "LIFETIME": 7200, "RENEW_AFTER": 60}
        (tmp_path / "wrong").mkdir()
        server = GunicornServer(
            tmp_path / "wrong",
            workers=1,
            node="wrong",
            settings={"STORE": url, "SECRET": SECRET + " not quite", **wrong},
        )
        with server:
            wait_until(lambda: "must agree" in server.said())
            said = server.said()

    for name in ("SECRET", "COOKIE_NAME", "LIFETIME"):
        assert name in said
    assert SECRET not in said


def test_a_wrong_secret_logs_nobody_out(ensemble: Ensemble, zk_root: str, tmp_path: Path) -> None:
    """A host with another secret cannot judge: 503, and the cookie stays."""
    url = ensemble.url(zk_root)
    (tmp_path / "stranger").mkdir()
    stranger = GunicornServer(
        tmp_path / "stranger",
        workers=1,
        node="stranger",
        settings={"STORE": url, "SECRET": "a key that no other host has"},
    )
    with serve(tmp_path, url, node="right", workers=1) as right, stranger:
        cookie = right.login()
        answer = stranger.me(cookie)

        assert answer.status == 503
        assert answer.cookie is None
        assert right.me(cookie).status == 200


@pytest.mark.parametrize("way", ["sync", "gevent"])
def test_without_a_store_a_worker_answers_in_time(way: str, tmp_path: Path) -> None:
    """Started while no server is there: public pages at once; who needs the store is told 503,
    the first one when a call's time is over, the next ones at once."""
    (nobody,) = spare_ports(1)
    cookie = genuine_text()
    (tmp_path / "alone").mkdir()
    server = GunicornServer(
        tmp_path / "alone",
        *WAYS[way],
        workers=1,
        node="alone",
        hooks=False,
        settings={"STORE": f"zookeeper://127.0.0.1:{nobody}/app", "SECRET": SECRET},
    )
    try:
        server.start_unready()
        assert server.ask("GET", "/public", timeout=5).status == 200
        assert server.me(cookie, timeout=CALL_TIMEOUT + 5).status == 503
        for _ in range(5):
            answer = server.me(cookie, timeout=CALL_TIMEOUT / 2)
            assert (answer.status, answer.cookie) == (503, None)
    finally:
        server.stop()


def genuine_text() -> str:
    """A login token signed with the tests' key, of some other store."""
    elsewhere = TokenAuthority(Settings(store="memory:", secret=(SECRET,)))
    try:
        return elsewhere.issue_login("alice").text
    finally:
        elsewhere.close()
