"""Promises 1 and 2 while the lines to Redis servers and Sentinels are cut: nothing arrives there.

A relay stands in each line that is cut, swallows what comes and tells nobody, as a network does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.ensemble.any_store import (
    Judge,
    fresh,
    log_outs_go_on,
    reason,
    revoke_for,
)
from tests.ensemble.harness import MAX_STALENESS
from tests.ensemble.proxy import Proxy
from tests.servers.redis import Guarded
from tests.waiting import holds_for, wait_past, wait_until

from .fleet import Said, a_fleet, cut_lines

pytestmark = [pytest.mark.redis, pytest.mark.processes]


class Relayed:
    """A primary that all others reach through a relay: its replicas, the Sentinels, nodes."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.servers = stack.enter_context(Guarded(way=self._relay))
        self.old = self.servers.servers[0]
        #: A Sentinel on the primary's side, which goes on naming it.
        self.beside = Said(self.old, 2)
        stack.callback(self.beside.close)

    def _relay(self, port: int) -> int:
        self.line = Proxy(("127.0.0.1", port))
        self._stack.callback(self.line.close)
        return self.line.port


@contextmanager
def relayed() -> Iterator[Relayed]:
    with ExitStack() as stack:
        yield Relayed(stack)


def test_a_primary_that_is_cut_off_with_half_of_the_nodes(tmp_path: Path, judge: Judge) -> None:
    """The Sentinels promote another. The old one goes on answering two of four nodes, and what
    these are told counts for nothing: it is an error, and they go stale."""
    with (
        relayed() as parts,
        a_fleet(tmp_path, parts.servers.url, parts.servers.url, parts.beside.url, size=4) as fleet,
    ):
        here, there = fleet.workers[:2], fleet.workers[2:]
        made = fleet.logins(6)
        assert "error" not in fleet.revoke(there[0], made[0])
        parts.line.drop()
        told = fleet.revoke(there[0], made[1], "id")
        assert "error" in told, "a revocation counted although no replica had it"
        new = parts.servers.wait_for_another(parts.old, 60)
        for one in (made[2], made[3]):
            wait_until(lambda one=one: "error" not in fleet.revoke(here[1], one), 60)
        # (Whether in time is for the judge to say.)
        wait_until(lambda: not any(map(fresh, there)), 60)
        wait_until(lambda: all(map(fresh, here)), 60)
        holds_for(lambda: not any(map(fresh, there)), 2 * MAX_STALENESS)

        parts.line.heal()
        parts.beside.primary = new
        wait_until(lambda: all(map(fresh, there)), 60)
        for worker in fleet.workers:
            for one in (made[0], made[2], made[3]):
                assert reason(worker, one) == "revoked"
            assert reason(worker, made[5]) == "accepted"
        log_outs_go_on(fleet)
        judge(fleet, "primary cut off with half of the nodes")


@pytest.mark.parametrize("how", ["silent", "gone"])
def test_sentinels_that_are_cut_off(how: str, tmp_path: Path, judge: Judge) -> None:
    """Nodes go on with the primary that was named last, also on new lines; who never heard of it
    waits for a Sentinel."""
    with Guarded(down_after=60) as servers, a_fleet(tmp_path, servers.url) as fleet:
        made = fleet.logins(3)
        assert "error" not in fleet.revoke(fleet.workers[0], made[0])
        for one in servers.sentinels:
            if how == "gone":
                one.kill()
            else:
                one.freeze()
        cut_lines(servers.servers[0])
        log_outs_go_on(fleet)
        wait_past(time.time() + 2 * MAX_STALENESS)
        fleet.wait_fresh()
        for worker in fleet.workers:
            assert reason(worker, made[0]) == "revoked"
            assert reason(worker, made[1]) == "accepted"
        newcomer = fleet.start_worker()
        asking = "no Sentinel names the primary"
        wait_until(lambda: asking in newcomer.ask("ready")["trouble"], 60)
        assert not fresh(newcomer)
        for one in servers.sentinels:
            if how == "gone":
                one.start()
            else:
                one.thaw()
        fleet.wait_fresh([newcomer])
        revoke_for(fleet, 1.0)
        judge(fleet, f"Sentinels {how}")
