"""gunicorn of every kind on a real PostgreSQL server, as somebody runs it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import Tell
from tests.gunicorn.random_workers import KEEPING, revoked_and_asked
from tests.gunicorn.server import GunicornServer
from tests.gunicorn.ways import ON_A_STORE, WAYS, serve
from tests.rounds import rounds
from tests.servers.postgresql import Server
from tests.waiting import wait_until

pytestmark = [pytest.mark.postgresql, pytest.mark.gunicorn]


def refused_by_all(server: GunicornServer, cookie: str) -> bool:
    answers = server.of_all_workers(cookie).values()
    return all(one.status == 401 for those in answers for one in those)


def logged_in(server: GunicornServer) -> str:
    """The cookie of a new login, once a worker takes one."""
    cookies: list[str | None] = []

    def works() -> bool:
        wish = {"username": "alice", "password": "alice"}
        answer = server.ask("POST", "/login", data=wish)
        cookies.append(answer.cookie)
        return answer.status == 200

    wait_until(works, 60)
    assert cookies[-1]
    return cookies[-1]


def logged_out(server: GunicornServer, cookie: str) -> bool:
    # (401: a try before this one did it, and its answer was 503.)
    return server.ask("POST", "/logout", cookie=cookie).status in (200, 401)


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
        wait_until(lambda: all(red.me(cookie).status == 401 for _ in range(8)), 30)
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
    told = counted.told()
    tell("postgresql: revoked on a random worker, then asked of all four on two hosts", **told)
    assert counted.accepted == 0


def test_workers_that_are_killed_take_nothing_with_them(
    url: str, realm: str, tmp_path: Path
) -> None:
    """Again and again in the midst of log-ins and log-outs: what was answered holds."""
    with serve(tmp_path, url, REALM=realm) as server:
        kept, ended = server.login(), []
        for _ in range(rounds(2, 100)):
            out = logged_in(server)
            wait_until(lambda out=out: logged_out(server, out), 60)
            ended.append(out)
            before = server.pids()
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda before=before: len(set(server.pids()) - set(before)) == 2, 60)
            wait_until(lambda: {server.me(kept).status for _ in range(8)} == {200}, 60)
            told = [server.me(one).status for one in ended]
            assert 200 not in told, told
        wait_until(lambda: all(refused_by_all(server, one) for one in ended), 60)


def test_two_apps_and_two_realms_share_a_schema(url: str, realm: str, tmp_path: Path) -> None:
    """Apps of one realm share logins; another realm knows nothing of them."""
    with (
        serve(tmp_path, url, node="one", workers=1, REALM=realm) as one,
        serve(tmp_path, url, node="two", workers=1, REALM=realm) as two,
        serve(tmp_path, url, node="apart", workers=1, REALM=realm + "-apart") as apart,
    ):
        cookie, other = one.login(), apart.login()
        assert two.me(cookie).status == 200
        assert apart.me(cookie).status == 401
        assert {one.me(other).status, two.me(other).status} == {401}
        assert two.ask("POST", "/logout", cookie=cookie).status == 200
        wait_until(lambda: one.me(cookie).status == 401, 30)
        assert {apart.me(other).status for _ in range(4)} == {200}


def test_a_server_that_restarts_logs_nobody_out(own_server: Server, tmp_path: Path) -> None:
    """Requests are answered from what is known, or with 503 and the cookie kept."""
    # (One that does not wait for its disk would be taken for another server.)
    own_server.configure(fsync="on")
    ways = ("--worker-class", "gthread", "--threads", "4")
    with serve(tmp_path, own_server.url, *ways) as server:
        cookie, out = server.login(), server.login()
        assert server.ask("POST", "/logout", cookie=out).status == 200
        own_server.kill()
        assert server.me(cookie).status in (200, 503)
        own_server.start()
        wait_until(lambda: all(server.me(cookie).status == 200 for _ in range(8)), 60)
        wait_until(lambda: refused_by_all(server, out), 60)
        assert logged_in(server)
