"""Promises 1 and 2 while a standby takes over, and while an old primary goes on.

With quorum-synchronous commit the bound holds whatever is cut; without it, and a primary that
goes on, there is none: the checker says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import Tell
from tests.ensemble.any_store import (
    Judge,
    StoreFleet,
    fresh,
    judging,
    log_outs_go_on,
    logged_in,
    reason,
    revoke_for,
    wait_revoked,
)
from tests.ensemble.harness import MAX_STALENESS
from tests.ensemble.proxy import Proxy
from tests.servers.postgresql import Server
from tests.servers.standbys import Replicated
from tests.waiting import holds_for, wait_until

pytestmark = [pytest.mark.postgresql, pytest.mark.processes]


@pytest.fixture
def judge(tell: Tell) -> Judge:
    return judging(tell, "postgresql")


class Side:
    """One side of a network: it reaches each server by a line that can be cut."""

    def __init__(self, stack: ExitStack, servers: Replicated) -> None:
        self._lines = {one.port: Proxy(("127.0.0.1", one.port)) for one in servers.servers}
        for line in self._lines.values():
            stack.callback(line.close)
        self.url = servers.url_of(*(line.port for line in self._lines.values()))

    def lose(self, *lost: Server) -> None:
        for one in lost:
            self._lines[one.port].reject()

    def find(self, *found: Server) -> None:
        for one in found:
            self._lines[one.port].heal()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def synchronous(stack: ExitStack) -> Replicated:
    """A primary and a standby that has to have each commit."""
    return stack.enter_context(Replicated(1, synchronous=1))


@pytest.fixture
def asynchronous(stack: ExitStack) -> Replicated:
    """A primary and a standby that nobody waits for."""
    return stack.enter_context(Replicated(1))


def test_a_primary_that_is_lost(synchronous: Replicated, tmp_path: Path, judge: Judge) -> None:
    """The standby takes over with everything; then the old one follows it, and takes over again."""
    old, new = synchronous.servers
    with StoreFleet.on(tmp_path, synchronous.url) as fleet:
        made = fleet.logins(6)
        for one in made[:3]:
            assert "error" not in fleet.revoke(fleet.workers[0], one)
        old.kill()
        revoke_for(fleet, 1.0)
        synchronous.promote(new)
        fleet.wait_fresh()
        log_outs_go_on(fleet)
        synchronous.follow(old, new)
        new.configure(synchronous_standby_names=synchronous.quorum)
        wait_until(lambda: "error" not in fleet.revoke(fleet.workers[1], made[3]), 60)
        new.kill()
        synchronous.promote(old)
        fleet.wait_fresh()
        wait_revoked([fleet.workers[2]], *made[:4])
        assert reason(fleet.workers[1], made[5]) == "accepted"
        log_outs_go_on(fleet)
        judge(fleet, "primary killed, standby promoted, and back")


def test_a_primary_that_is_frozen_and_thawed(
    synchronous: Replicated, tmp_path: Path, judge: Judge
) -> None:
    """It thaws after another took its place, with proofs of freshness waiting in its buffers."""
    old, new = synchronous.servers
    with StoreFleet.on(tmp_path, synchronous.url) as fleet:
        made = fleet.logins(4)
        old.freeze()
        assert "error" in fleet.revoke(fleet.workers[0], made[0], "id")
        synchronous.promote(new)
        fleet.wait_fresh()
        for one in made[:2]:
            wait_until(lambda one=one: "error" not in fleet.revoke(fleet.workers[0], one, "id"), 60)
        old.thaw()
        revoke_for(fleet, 2 * MAX_STALENESS)
        wait_revoked([fleet.workers[1]], *made[:2])
        judge(fleet, "primary frozen and thawed")


def test_an_old_primary_that_was_left_alone(
    synchronous: Replicated, stack: ExitStack, tmp_path: Path, judge: Judge
) -> None:
    """Half of the nodes still talk to it: nothing counts there any more, nor do they vouch."""
    old, new = synchronous.servers
    here, there = Side(stack, synchronous), Side(stack, synchronous)
    with StoreFleet.on(tmp_path, here.url, there.url) as fleet:
        new_side, old_side = fleet.workers[0], fleet.workers[2]
        made = fleet.logins(4)
        synchronous.promote(new)
        here.lose(old)
        there.lose(new)
        told = fleet.revoke(old_side, made[0], "id")
        assert "error" in told, "a revocation counted although no standby had it"

        wait_until(lambda: "error" not in fleet.revoke(new_side, made[1], "id"), 60)
        wait_until(lambda: not fresh(old_side), 60)
        holds_for(lambda: not fresh(old_side), 2 * MAX_STALENESS)
        fleet.wait_fresh([new_side])
        old.kill()
        there.find(new)
        fleet.wait_fresh()
        wait_revoked([old_side], made[1])
        assert reason(old_side, made[3]) == "accepted"
        judge(fleet, "old primary left alone, synchronous")


def test_without_a_synchronous_standby_the_same_run_breaks_the_bound(
    asynchronous: Replicated, stack: ExitStack, tmp_path: Path
) -> None:
    """What the docs call "no bound" is none: the checker finds it, so it would find it above."""
    old, new = asynchronous.servers
    here, there = Side(stack, asynchronous), Side(stack, asynchronous)
    with StoreFleet.on(tmp_path, here.url, there.url) as fleet:
        new_side, old_side = fleet.workers[0], fleet.workers[2]
        made = fleet.logins(2)
        asynchronous.promote(new)
        here.lose(old)
        there.lose(new)
        wait_until(lambda: "error" not in fleet.revoke(new_side, made[1], "id"), 60)
        holds_for(lambda: reason(old_side, made[1]) == "accepted", MAX_STALENESS + 2)
        assert fleet.verdict().violations != []


def test_an_old_primary_with_a_standby_beside_it(
    stack: ExitStack, tmp_path: Path, judge: Judge
) -> None:
    """It goes on as the one that counts; the promoted one has nobody, so nobody vouches there.

    When the standby changes sides, it has what the promoted one has, and everybody who knew
    more has put it back before anybody on that side is fresh.
    """
    servers = stack.enter_context(Replicated(2, synchronous=1))
    old, new, beside = servers.servers
    here, there = Side(stack, servers), Side(stack, servers)
    with StoreFleet.on(tmp_path, here.url, there.url) as fleet:
        new_side, old_side = fleet.workers[0], fleet.workers[2]
        made = fleet.logins(5)
        new.configure(synchronous_standby_names=servers.quorum)
        servers.promote(new)
        here.lose(old)
        there.lose(new)
        wait_until(lambda: not fresh(new_side), 60)
        for what, one in (("id", made[0]), ("subject", made[1]), ("label", made[2])):
            told = fleet.revoke(old_side, one, what)
            assert "error" not in told, told
        holds_for(lambda: not fresh(new_side), MAX_STALENESS)

        old.kill()
        there.find(new)
        servers.follow(beside, new)
        fleet.wait_fresh()
        wait_revoked(fleet.workers, *made[:3])
        for worker in fleet.workers:
            assert reason(worker, made[4]) == "accepted"
        judge(fleet, "a standby beside the old primary")


def test_a_standby_that_lacks_the_last_entries_is_promoted(
    asynchronous: Replicated, tmp_path: Path, judge: Judge
) -> None:
    """Nothing that was revoked comes back, and who logged in since stays logged in."""
    old, behind = asynchronous.servers
    with StoreFleet.on(tmp_path, asynchronous.url) as fleet:
        made = fleet.logins(4)
        wait_until(
            lambda: (
                old.sql("SELECT pg_current_wal_lsn() = replay_lsn FROM pg_stat_replication")
                == [(True,)]
            ),
            60,
        )
        behind.unfollow()
        told = [
            fleet.revoke(fleet.workers[n], one, what)
            for n, (what, one) in enumerate(zip(("id", "subject", "label"), made, strict=False))
        ]
        assert all("error" not in one for one in told), told
        # (Whoever is alive and has heard of them puts them back; all have by then.)
        fleet.wait_fresh()
        wait_revoked(fleet.workers, *made[:3])
        old.kill()
        asynchronous.promote(behind)
        fleet.wait_fresh()
        late = logged_in(fleet, fleet.workers[0])
        newcomer = fleet.start_worker(index=0)
        fleet.wait_fresh([newcomer])
        for worker in fleet.workers:
            for one in made[:3]:
                assert reason(worker, one) == "revoked"
            assert reason(worker, made[3]) == "accepted"
            assert reason(worker, late) == "accepted"
        judge(fleet, "promoted without the last entries")


def test_commits_that_somebody_else_cancels(
    synchronous: Replicated, tmp_path: Path, judge: Judge
) -> None:
    """The standby is gone and commits hang; who cancels them makes the server say "done".

    That is taken neither for a revocation nor for a proof of freshness.
    """
    primary, standby = synchronous.servers
    with StoreFleet.on(tmp_path, synchronous.url) as fleet, primary.line() as line:
        made = fleet.logins(4)
        assert "error" not in fleet.revoke(fleet.workers[0], made[0])
        standby.kill()
        cancelled = 0

        def cancel() -> bool:
            nonlocal cancelled
            cancelled += primary.cancel_waits(line)
            return True

        def nobody_vouches() -> bool:
            return cancel() and not any(map(fresh, fleet.workers))

        wait_until(nobody_vouches, 60)
        fleet.workers[1].send("revoke", what="id", target=made[1]["id"])
        holds_for(cancel, 2.0)
        told = fleet.workers[1].answer(60)
        assert "error" in told, "a revocation counted although no standby had it"
        holds_for(nobody_vouches, 2 * MAX_STALENESS)
        assert cancelled > 0
        standby.start()
        fleet.wait_fresh()
        wait_revoked([fleet.workers[2]], made[0])
        assert reason(fleet.workers[2], made[3]) == "accepted"
        wait_until(lambda: "error" not in fleet.revoke(fleet.workers[0], made[2]), 60)
        judge(fleet, "waits for a standby cancelled")
