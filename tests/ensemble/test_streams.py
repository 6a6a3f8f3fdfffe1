"""Streams on two hosts of a real ensemble end in time, wherever the revocation came from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from flask_clustertoken.clock import SKEW
from tests.conftest import Tell
from tests.gunicorn.listeners import Listener, listening, login
from tests.gunicorn.server import GunicornServer
from tests.pace import moments
from tests.rounds import FULL, rounds
from tests.servers.zookeeper import Ensemble
from tests.waiting import holds_for, wait_until

pytestmark = [pytest.mark.zookeeper, pytest.mark.gunicorn]

SECRET = "one key for every host of the test, long enough"

#: Seconds (``MAX_STALENESS``) after which a node that hears nothing ends everything.
BOUND = 10


@contextmanager
def hosts(folder: Path, url: str, **settings: object) -> Iterator[list[GunicornServer]]:
    """Two hosts, with so many threads that each stream has one."""
    with ExitStack() as running:
        servers = []
        for node in ("red", "blue"):
            (folder / node).mkdir()
            server = GunicornServer(
                folder / node,
                *("--worker-class", "gthread", "--threads", str(rounds(60, 300))),
                workers=rounds(1, 2),
                node=node,
                app="tests.gunicorn.streaming:app",
                hooks=False,
                settings={"STORE": url, "SECRET": SECRET, "MAX_STALENESS": BOUND, **settings},
            )
            servers.append(running.enter_context(server))
        yield servers


@contextmanager
def streams(
    servers: list[GunicornServer], each: int, *names: str
) -> Iterator[dict[str, list[Listener]]]:
    """So many on each host for each of *names*, who have logged in on the first one."""
    cookies = {name: login(servers[0], name) for name in names}
    with ExitStack() as lines:
        opened = [lines.enter_context(listening(one, "/ticks", cookies, each)) for one in servers]
        yield {name: [line for host in opened for line in host[name]] for name in names}


def test_what_ends_a_login_on_one_host_ends_its_streams_on_both(
    ensemble: Ensemble, zk_root: str, tmp_path: Path, tell: Tell
) -> None:
    """On all workers of both, with the reason: a revocation, and a lock, which is confirmed as
    one. Nobody else's; and whoever is locked connects anew on neither."""
    with (
        hosts(tmp_path, ensemble.url(zk_root)) as servers,
        streams(servers, rounds(10, 85), "alice", "carol", "bob") as opened,
    ):
        for path, name, reason in (
            ("/end/alice", "alice", "revoked"),
            ("/lock/carol", "carol", "locked"),
        ):
            mine = opened.pop(name)
            began = time.monotonic()
            assert servers[1].ask("POST", path, timeout=90).body == b"in force"
            wait_until(lambda mine=mine: all(one.ended_at for one in mine), 3 * BOUND)  # type: ignore[misc]
            assert {one.reason for one in mine} == {reason}
            others = [one for some in opened.values() for one in some]
            holds_for(lambda others=others: not any(one.ended_at for one in others), 1)  # type: ignore[misc]
            took = max(one.ended_at or 0 for one in mine) - began
            counted = {"streams": len(mine), "seconds": round(took, 2)}
            tell(f"streams that ended, {reason} (two hosts)", **counted)
        for server in servers:
            refused = server.ask("POST", "/login?as=carol")
            assert refused.status == 403
            assert refused.json["message"] == "carol may not come back."
            assert server.ask("POST", "/login?as=alice").status == 200


@pytest.mark.skipif(not FULL, reason="a token is accepted for a minute beyond its expiry")
def test_an_expiry_ends_the_streams_of_both_hosts_unless_the_login_was_renewed(
    ensemble: Ensemble, zk_root: str, tmp_path: Path, tell: Tell
) -> None:
    """One browser goes on asking, of one host only: its streams go on at the other one, too."""
    with (
        hosts(tmp_path, ensemble.url(zk_root), LIFETIME=20, RENEW_AFTER=5) as servers,
        streams(servers, 125, "alice", "bob") as opened,
    ):
        last = [login(servers[0], "alice")]
        # (A login of her own: this one's streams end as well if it is not renewed.)
        with listening(servers[1], "/ticks", {"renewed": last[0]}, 10) as renewed:

            def goes_on() -> bool:
                answer = servers[0].ask("GET", "/me", cookie=last[0])
                assert answer.status == 200
                last[0] = answer.cookie or last[0]
                return all(one.ended_at for some in opened.values() for one in some)

            began = time.monotonic()
            wait_until(goes_on, 20 + SKEW + 2 * BOUND)
            assert {one.reason for some in opened.values() for one in some} == {"expired"}
            holds_for(lambda: not any(one.ended_at for one in renewed["renewed"]), 2)
    streams_ended, took = sum(map(len, opened.values())), round(time.monotonic() - began)
    tell("streams that ended, expired (two hosts)", streams=streams_ended, seconds=took)


def test_hosts_that_are_cut_off_end_all_streams_in_time(
    ensemble: Ensemble, zk_root: str, tmp_path: Path, tell: Tell
) -> None:
    """Beyond the bound nobody knows what was revoked; each client is told so."""
    with (
        hosts(tmp_path, ensemble.url(zk_root)) as servers,
        streams(servers, rounds(15, 125), "alice", "bob") as opened,
    ):
        began = time.monotonic()
        for server in ensemble.servers:
            server.freeze()
        both = [one for some in opened.values() for one in some]
        wait_until(lambda: all(one.ended_at for one in both), 2 * BOUND + 60)
        assert {one.reason for one in both} == {"stale"}
        took = max(one.ended_at or 0 for one in both) - began
        assert took <= BOUND + 5 + moments(50), "the bound, and what it takes to look and to send"
    tell("streams that a cut ended (two hosts)", streams=len(both), seconds=round(took, 2))
