"""Promises 1 and 2 while Redis servers are killed, frozen, cut off and rolled back.

Each scenario is judged on a recorded history, and says the worst delay that it saw.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.conftest import Tell
from tests.ensemble.any_store import (
    Judge,
    fresh,
    log_outs_go_on,
    logged_in,
    reason,
    revoke_for,
    said,
)
from tests.ensemble.harness import MAX_STALENESS
from tests.rounds import rounds
from tests.servers.ports import spare_ports
from tests.servers.redis import Guarded, Server
from tests.waiting import holds_for, wait_past, wait_until

from .fleet import Said, a_fleet, cut_lines

pytestmark = [pytest.mark.redis, pytest.mark.processes]


def test_without_a_fault_every_worker_refuses_soon(url: str, tmp_path: Path, judge: Judge) -> None:
    """A revocation is confirmed by every worker, and none accepts after that."""
    with a_fleet(tmp_path, url) as fleet:
        for index in range(rounds(20, 400)):
            made = fleet.login(fleet.workers[index % 3])
            what = "realm" if index % 10 == 9 else ""
            told = fleet.revoke(fleet.workers[(index + 1) % 3], made, what, confirm=25.0)
            assert told.get("in_force"), told
        judge(fleet, "no fault")


def test_a_primary_that_is_killed(tmp_path: Path, judge: Judge, tell: Tell) -> None:
    """Sentinels promote a replica; what was revoked stays revoked, and log-outs go on."""
    with Guarded() as servers, a_fleet(tmp_path, servers.url) as fleet:
        made = fleet.logins(6)
        for one in made[:3]:
            assert "error" not in fleet.revoke(fleet.workers[0], one)
        old, began = servers.primary(), time.monotonic()
        old.kill()
        revoke_for(fleet, 1.0)
        servers.wait_for_another(old)
        log_outs_go_on(fleet)
        tell("redis: primary killed", log_outs_after=f"{time.monotonic() - began:.1f} s")
        for one in made[:3]:
            assert reason(fleet.workers[2], one) == "revoked"
        assert reason(fleet.workers[1], made[4]) == "accepted"
        revoke_for(fleet, 2.0)
        judge(fleet, "primary killed")


def test_a_primary_that_is_frozen_and_thawed(tmp_path: Path, judge: Judge) -> None:
    """It thaws after another took its place, with proofs of freshness waiting in its buffers."""
    with Guarded() as servers, a_fleet(tmp_path, servers.url, settle=2) as fleet:
        made = fleet.logins(4)
        old = servers.primary()
        old.freeze()
        servers.wait_for_another(old)
        for one in made[:2]:
            wait_until(lambda one=one: "error" not in fleet.revoke(fleet.workers[0], one), 60)
        revoke_for(fleet, rounds(0, 60))
        old.thaw()
        revoke_for(fleet, 2 * MAX_STALENESS)
        for one in made[:2]:
            assert reason(fleet.workers[1], one) == "revoked"
        judge(fleet, "primary frozen and thawed")


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[Server]]:
    """A primary with two replicas, and nobody who promotes one."""
    ports = spare_ports(3)
    told = {"replicaof": f"127.0.0.1 {ports[0]}"}
    with ExitStack() as stack:
        servers = [
            stack.enter_context(Server(tmp_path / f"server-{n}", port, told if n else {}))
            for n, port in enumerate(ports)
        ]
        wait_until(lambda: servers[0].info("connected_slaves") == "2", 60)
        wait_until(lambda: all(one.info("master_link_status") == "up" for one in servers[1:]), 60)
        yield servers


@pytest.fixture
def two_sides(three: list[Server]) -> Iterator[tuple[Said, Said]]:
    """What the Sentinels on either side say; the same until a test cuts the network."""
    sides = Said(three[0], 2), Said(three[0], 2)
    yield sides
    for one in sides:
        one.close()


def test_an_old_primary_that_was_left_alone(
    three: list[Server], two_sides: tuple[Said, Said], tmp_path: Path, judge: Judge
) -> None:
    """Half of the nodes still talk to it: nothing counts there any more, nor do they vouch."""
    old, new, other = three
    here, there = two_sides
    with a_fleet(tmp_path, here.url, there.url) as fleet:
        new_side, old_side = fleet.workers[0], fleet.workers[2]
        made = fleet.logins(4)
        new.ask("REPLICAOF", "NO", "ONE")
        other.ask("REPLICAOF", "127.0.0.1", str(new.port))
        here.primary = new
        cut_lines(old)
        told = fleet.revoke(old_side, made[0], "id")
        assert "error" in told, "a revocation counted although no replica had it"

        wait_until(lambda: "error" not in fleet.revoke(new_side, made[1], "id"), 60)
        # (Whether in time is for the judge to say.)
        wait_until(lambda: not fresh(old_side), 60)
        holds_for(lambda: not fresh(old_side), 2 * MAX_STALENESS)
        wait_until(lambda: fresh(new_side), 60)
        there.primary = new
        old.ask("REPLICAOF", "127.0.0.1", str(new.port))
        fleet.wait_fresh()
        assert reason(old_side, made[1]) == "revoked"
        assert reason(old_side, made[3]) == "accepted"
        judge(fleet, "old primary left alone")


def test_without_acknowledgements_the_same_run_breaks_the_bound(
    three: list[Server], two_sides: tuple[Said, Said], tmp_path: Path
) -> None:
    """What the docs call "no bound" is none: the checker finds it, so it would find it above."""
    old, new, other = three
    here, there = two_sides
    with a_fleet(tmp_path, here.url, there.url, replicas=0, settle=0) as fleet:
        new_side, old_side = fleet.workers[0], fleet.workers[2]
        made = fleet.logins(2)
        new.ask("REPLICAOF", "NO", "ONE")
        other.ask("REPLICAOF", "127.0.0.1", str(new.port))
        here.primary = new
        cut_lines(old)
        wait_until(lambda: "error" not in fleet.revoke(new_side, made[1], "id"), 60)
        wait_past(time.time() + MAX_STALENESS + 2)
        assert reason(old_side, made[1]) == "accepted"
        assert fleet.verdict().violations != []


def test_an_old_primary_with_a_replica_beside_it(
    three: list[Server], two_sides: tuple[Said, Said], tmp_path: Path, judge: Judge
) -> None:
    """It goes on as the one that counts; the promoted one has nobody, so nobody vouches there.

    When the replica changes sides, what it forgets in doing so is published again before
    anybody on the new side is fresh.
    """
    old, new, beside = three
    here, there = two_sides
    with a_fleet(tmp_path, here.url, there.url) as fleet:
        new_side, old_side = fleet.workers[0], fleet.workers[2]
        made = fleet.logins(5)
        new.ask("REPLICAOF", "NO", "ONE")
        here.primary = new
        cut_lines(old)
        wait_until(lambda: not fresh(new_side), 60)
        for what, one in (("id", made[0]), ("subject", made[1]), ("label", made[2])):
            told = fleet.revoke(old_side, one, what)
            assert "error" not in told, told
        holds_for(lambda: not fresh(new_side), MAX_STALENESS)

        beside.ask("REPLICAOF", "127.0.0.1", str(new.port))
        there.primary = new
        fleet.wait_fresh()
        for worker in fleet.workers:
            for one in made[:3]:
                assert reason(worker, one) == "revoked"
            assert reason(worker, made[4]) == "accepted"
        judge(fleet, "a replica beside the old primary")


def test_a_replica_that_lacks_the_last_entries_is_promoted(
    three: list[Server], two_sides: tuple[Said, Said], tmp_path: Path, judge: Judge
) -> None:
    """Nothing that was revoked comes back, and who logged in since stays logged in."""
    old, behind, other = three
    side = two_sides[0]
    with a_fleet(tmp_path, side.url, settle=2) as fleet:
        made = fleet.logins(4)
        behind.freeze()
        told = [
            fleet.revoke(fleet.workers[n], one, what)
            for n, (what, one) in enumerate(zip(("id", "subject", "label"), made, strict=False))
        ]
        assert all("error" not in one for one in told), told
        old.kill()
        # (What the frozen one had been sent and not read is lost as well.)
        behind.thaw()
        behind.ask("REPLICAOF", "NO", "ONE")
        other.ask("REPLICAOF", "127.0.0.1", str(behind.port))
        side.primary = behind
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


def test_a_power_cut_that_loses_the_last_second(tmp_path: Path, judge: Judge) -> None:
    """The end of the append-only file is gone: the nodes that live put it back."""
    said = {"appendonly": "yes", "appendfsync": "everysec", "aof-use-rdb-preamble": "no"}
    with (
        Server(tmp_path / "server", spare_ports(1)[0], said) as server,
        a_fleet(tmp_path, f"redis://127.0.0.1:{server.port}") as fleet,
    ):
        made = fleet.logins(4)
        (file,) = (tmp_path / "server" / "appendonlydir").glob("*.incr.aof")
        kept = file.read_bytes()
        for what, one in (("id", made[0]), ("subject", made[1])):
            assert "error" not in fleet.revoke(fleet.workers[0], one, what)
        fleet.wait_fresh()
        server.kill()
        file.write_bytes(kept)
        server.start()
        wait_until(lambda: server.info("loading") == "0", 60)
        fleet.wait_fresh()
        newcomer = fleet.start_worker()
        fleet.wait_fresh([newcomer])
        for worker in fleet.workers:
            for one in made[:2]:
                assert reason(worker, one) == "revoked"
            assert reason(worker, made[3]) == "accepted"
        log_outs_go_on(fleet)
        judge(fleet, "the last second lost")


def test_a_server_that_was_emptied(own_server: Server, tmp_path: Path, judge: Judge) -> None:
    """After FLUSHALL it is another store: no token of the old one is accepted, none returns."""
    url = f"redis://127.0.0.1:{own_server.port}"
    with a_fleet(tmp_path, url) as fleet:
        made = fleet.logins(3)
        assert "error" not in fleet.revoke(fleet.workers[0], made[0])
        own_server.ask("FLUSHALL")

        def refused() -> bool:
            return all(said(one, made[1]) == "revoked" for one in fleet.workers)

        def let_in() -> bool:
            late = fleet.login(fleet.workers[1])
            return "error" not in late and said(fleet.workers[2], late) == "accepted"

        wait_until(refused, 60)
        wait_until(let_in, 60)
        assert not any(said(one, made[1]) == "accepted" for one in fleet.workers)
        judge(fleet, "FLUSHALL")


def test_an_old_copy_that_was_put_back(own_server: Server, tmp_path: Path, judge: Judge) -> None:
    """Where every node that knew more was stopped meanwhile, only 'restored' helps; where one
    lives, it puts back what the copy lacks."""
    url = f"redis://127.0.0.1:{own_server.port}"
    with a_fleet(tmp_path, url) as fleet:
        made = fleet.logins(3)
        own_server.ask("SAVE")
        copy = (own_server.folder / "dump.rdb").read_bytes()
        assert "error" not in fleet.revoke(fleet.workers[0], made[0])
        own_server.kill()
        (own_server.folder / "dump.rdb").write_bytes(copy)
        own_server.start()
        fleet.wait_fresh()
        newcomer = fleet.start_worker()
        fleet.wait_fresh([newcomer])
        for worker in fleet.workers:
            assert reason(worker, made[0]) == "revoked"
            assert reason(worker, made[1]) == "accepted"
        judge(fleet, "an old copy put back")


def busy(server: Server) -> None:
    with suppress(Exception):
        server.ask("EVAL", "while true do end", "0", timeout=0.3)


#: How a server is silenced, and how it is made to speak again.
SILENCE: dict[str, tuple[Callable[[Server], object], Callable[[Server], object]]] = {
    "frozen": (Server.freeze, Server.thaw),
    "paused": (
        lambda server: server.ask("CLIENT", "PAUSE", "600000", "WRITE"),
        lambda server: server.ask("CLIENT", "UNPAUSE"),
    ),
    "busy with a script": (busy, lambda server: server.ask("SCRIPT", "KILL")),
}


@pytest.mark.parametrize("how", SILENCE)
def test_a_server_that_is_slow_or_busy(
    how: str, own_server: Server, tmp_path: Path, judge: Judge
) -> None:
    """Calls end by their deadline, nodes go stale within the bound and come back by themselves."""
    silence, release = SILENCE[how]
    own_server.ask("CONFIG", "SET", "lua-time-limit", "50")
    url = f"redis://127.0.0.1:{own_server.port}"
    with a_fleet(tmp_path, url) as fleet:
        made = fleet.logins(2)
        assert "error" not in fleet.revoke(fleet.workers[0], made[0])
        silence(own_server)
        told = fleet.revoke(fleet.workers[1], made[1], "id")
        assert "error" in told
        # (Whether in time is for the judge to say.)
        wait_until(lambda: not any(map(fresh, fleet.workers)), 60)
        release(own_server)
        fleet.wait_fresh()
        for worker in fleet.workers:
            assert reason(worker, made[0]) == "revoked"
        log_outs_go_on(fleet)
        judge(fleet, how)


def test_a_server_that_sleeps_again_and_again(tmp_path: Path, judge: Judge) -> None:
    """``DEBUG SLEEP``: longer than a call may last, shorter than a lease. Nobody is let in."""
    (port,) = spare_ports(1)
    with (
        Server(tmp_path / "server", port, {"enable-debug-command": "local"}) as server,
        a_fleet(tmp_path, f"redis://127.0.0.1:{port}") as fleet,
    ):
        made = fleet.logins(2)
        assert "error" not in fleet.revoke(fleet.workers[0], made[0])
        for _ in range(rounds(2, 10)):
            with suppress(Exception):
                server.ask("DEBUG", "SLEEP", "2.5", timeout=0.3)
            revoke_for(fleet, 1.0)
            wait_until(server.answers, 60)
        log_outs_go_on(fleet)
        for worker in fleet.workers:
            assert reason(worker, made[0]) == "revoked"
            assert reason(worker, made[1]) == "accepted"
        judge(fleet, "DEBUG SLEEP")


def test_workers_that_are_killed(own_server: Server, tmp_path: Path, judge: Judge) -> None:
    """While they log people out: what they acknowledged holds on those that live, and that come."""
    # (Of its own: a label that was ended once is ended for good, and fleets use the same ones.)
    url = f"redis://127.0.0.1:{own_server.port}"
    with a_fleet(tmp_path, url) as fleet:
        for _ in range(rounds(2, 20)):
            made = fleet.logins(4)
            victim = fleet.workers[0]
            assert "error" not in fleet.revoke(victim, made[0])
            victim.send("revoke", what="id", target=made[1]["id"])
            victim.kill()
            fleet.workers.remove(victim)
            newcomer = fleet.start_worker()
            fleet.wait_fresh([newcomer])
            for worker in fleet.workers:
                assert reason(worker, made[0]) == "revoked"
                assert reason(worker, made[3]) == "accepted"
            # (Nobody waited for that answer: done everywhere, or nowhere.)
            wait_until(
                lambda made=made: len({reason(worker, made[1]) for worker in fleet.workers}) == 1,
                60,
            )
            log_outs_go_on(fleet)
        judge(fleet, "workers killed")


def test_a_worker_that_starts_while_no_server_is_there(tmp_path: Path) -> None:
    """It says what is wrong, accepts nothing, and is fresh once the server has come."""
    folder, (port,) = tmp_path / "late", spare_ports(1)
    fleet = a_fleet(tmp_path, f"redis://127.0.0.1:{port}")
    try:
        worker = fleet.start_worker()
        said = worker.ask("ready")
        assert not said["fresh"]
        assert f"127.0.0.1:{port}" in said["trouble"]
        with Server(folder, port):
            fleet.wait_fresh([worker])
            worker.stop()
    finally:
        fleet.__exit__()
        shutil.rmtree(folder, ignore_errors=True)
