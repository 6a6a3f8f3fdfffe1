"""Streams on two hosts of a real ensemble end in time, wherever the revocation came from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import Tell
from tests.gunicorn.listeners import Listener, listening, login
from tests.gunicorn.server import GunicornServer
from tests.rounds import rounds
from tests.servers.zookeeper import Ensemble
from tests.waiting import holds_for, wait_until

pytestmark = [pytest.mark.zookeeper, pytest.mark.gunicorn]

SECRET = "one key for every host of the test, long enough"

#: Seconds (``MAX_STALENESS``) after which a node that hears nothing ends everything.
BOUND = 10


@contextmanager
def hosts(folder: Path, url: str) -> Iterator[list[GunicornServer]]:
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
                settings={"STORE": url, "SECRET": SECRET, "MAX_STALENESS": BOUND},
            )
            servers.append(running.enter_context(server))
        yield servers


@contextmanager
def streams(
    servers: list[GunicornServer], each: int
) -> Iterator[tuple[list[Listener], list[Listener]]]:
    """Those of alice and those of bob, on both hosts; both logged in on the first one."""
    cookies = {name: login(servers[0], name) for name in ("alice", "bob")}
    with ExitStack() as lines:
        opened = [lines.enter_context(listening(one, "/ticks", cookies, each)) for one in servers]
        yield (
            [line for host in opened for line in host["alice"]],
            [line for host in opened for line in host["bob"]],
        )


def test_a_revocation_on_one_host_ends_the_streams_of_both(
    ensemble: Ensemble, zk_root: str, tmp_path: Path, tell: Tell
) -> None:
    """Of all workers of both, and nobody else's."""
    with (
        hosts(tmp_path, ensemble.url(zk_root)) as servers,
        streams(servers, rounds(15, 125)) as (alices, bobs),
    ):
        began = time.monotonic()
        servers[1].ask("POST", "/end/alice")
        wait_until(lambda: all(one.ended_at for one in alices), BOUND)
        assert {one.reason for one in alices} == {"revoked"}
        holds_for(lambda: not any(one.ended_at for one in bobs), 1)
        took = max(one.ended_at or 0 for one in alices) - began
    tell("streams that a revocation ended (two hosts)", streams=len(alices), seconds=round(took, 2))


def test_hosts_that_are_cut_off_end_all_streams_in_time(
    ensemble: Ensemble, zk_root: str, tmp_path: Path, tell: Tell
) -> None:
    """Beyond the bound nobody knows what was revoked; each client is told so."""
    with (
        hosts(tmp_path, ensemble.url(zk_root)) as servers,
        streams(servers, rounds(15, 125)) as (alices, bobs),
    ):
        began = time.monotonic()
        for server in ensemble.servers:
            server.freeze()
        both = [*alices, *bobs]
        wait_until(lambda: all(one.ended_at for one in both), 2 * BOUND + 10)
        assert {one.reason for one in both} == {"stale"}
        took = max(one.ended_at or 0 for one in both) - began
        assert took <= BOUND + 5, "the bound, and what it takes to look and to send"
    tell("streams that a cut ended (two hosts)", streams=len(both), seconds=round(took, 2))
