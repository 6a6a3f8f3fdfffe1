"""Promises 1 and 2 while Redis servers are killed, frozen, cut off and rolled back.

Each scenario is judged on a recorded history, and says the worst delay that it saw.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import Tell
from tests.ensemble.harness import MAX_STALENESS, Process
from tests.rounds import rounds
from tests.servers.ports import spare_ports
from tests.servers.redis import Guarded, Server
from tests.waiting import came_true, holds_for, wait_until

from .fleet import RedisFleet, Said

pytestmark = [pytest.mark.redis, pytest.mark.processes]

Judge = Callable[[RedisFleet, str], None]


@pytest.fixture
def judge(tell: Tell) -> Judge:
    """Reads the history that was recorded, and says what it shows."""

    def judge(fleet: RedisFleet, fault: str) -> None:
        verdict = fleet.verdict()
        tell(
            f"redis: {fault}",
            revocations=verdict.revocations,
            validations=verdict.validations,
            violations=len(verdict.violations),
            worst_delay=f"{verdict.worst_delay * 1000:,.0f} ms",
        )
        assert verdict.violations == [], "\n".join(map(str, verdict.violations[:5]))
        assert verdict.revocations > 0

    return judge


def a_fleet(folder: Path, *urls: str, **options: object) -> RedisFleet:
    return RedisFleet(None, "", folder, urls=urls, options=dict(options))  # type: ignore[arg-type]


def fresh(worker: Process) -> bool:
    return bool(worker.ask("ready")["fresh"])


def said(worker: Process, made: dict[str, str]) -> str:
    answer = worker.ask("validate", token=made["token"], text=made["text"])
    return "accepted" if answer["accepted"] else str(answer["reason"])


def reason(worker: Process, made: dict[str, str]) -> str:
    """What a worker says that is fresh (on a busy machine it may be late with its proof)."""
    told: list[str] = []

    def is_fresh() -> bool:
        told.append(said(worker, made))
        return told[-1] != "stale"

    came_true(is_fresh, 20)
    return told[-1]


def cut_lines(server: Server) -> None:
    """End every client's connection: whoever may comes back."""
    for kind in ("normal", "pubsub"):
        server.ask("CLIENT", "KILL", "TYPE", kind)


def revoke_for(fleet: RedisFleet, seconds: float) -> int:
    """Log users in and out for a while; returns how many log-outs were acknowledged."""
    done, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        worker = fleet.workers[done % len(fleet.workers)]
        made = fleet.login(worker)
        told = fleet.revoke(worker, made) if "error" not in made else made
        done += "error" not in told
    return done


def test_without_a_fault_every_worker_refuses_soon(url: str, tmp_path: Path, judge: Judge) -> None:
    """A revocation is confirmed by every worker, and none accepts after that."""
    with a_fleet(tmp_path, url) as fleet:
        for index in range(rounds(20, 400)):
            made = fleet.login(fleet.workers[index % 3])
            what = "realm" if index % 10 == 9 else ""
            told = fleet.revoke(fleet.workers[(index + 1) % 3], made, what, confirm=5.0)
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
        fleet.wait_fresh()
        took = time.monotonic() - began
        for one in made[:3]:
            assert reason(fleet.workers[2], one) == "revoked"
        assert reason(fleet.workers[1], made[4]) == "accepted"
        assert revoke_for(fleet, 2.0) > 0
        tell("redis: primary killed", fresh_after=f"{took:.1f} s")
        judge(fleet, "primary killed")


def test_a_primary_that_is_frozen_and_thawed(tmp_path: Path, judge: Judge) -> None:
    """It thaws after another took its place, with proofs of freshness waiting in its buffers."""
    with Guarded() as servers, a_fleet(tmp_path, servers.url, settle=2) as fleet:
        made = fleet.logins(4)
        old = servers.primary()
        old.freeze()
        servers.wait_for_another(old)
        fleet.wait_fresh()
        for one in made[:2]:
            wait_until(lambda one=one: "error" not in fleet.revoke(fleet.workers[0], one), 20)
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
        wait_until(lambda: servers[0].info("connected_slaves") == "2", 30)
        wait_until(lambda: all(one.info("master_link_status") == "up" for one in servers[1:]), 30)
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

        wait_until(lambda: "error" not in fleet.revoke(new_side, made[1], "id"), 20)
        wait_until(lambda: not fresh(old_side), MAX_STALENESS + 1)
        holds_for(lambda: not fresh(old_side), 2 * MAX_STALENESS)
        assert fresh(new_side)
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
        wait_until(lambda: "error" not in fleet.revoke(new_side, made[1], "id"), 20)
        holds_for(lambda: fresh(old_side), MAX_STALENESS + 2)
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
        wait_until(lambda: not fresh(new_side), MAX_STALENESS + 2)
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
        late = fleet.login(fleet.workers[0])
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
        wait_until(lambda: server.info("loading") == "0", 10)
        fleet.wait_fresh()
        newcomer = fleet.start_worker()
        fleet.wait_fresh([newcomer])
        for worker in fleet.workers:
            for one in made[:2]:
                assert reason(worker, one) == "revoked"
            assert reason(worker, made[3]) == "accepted"
        assert revoke_for(fleet, 1.0) > 0
        judge(fleet, "the last second lost")


def test_a_server_that_was_emptied(own_server: Server, tmp_path: Path, judge: Judge) -> None:
    """After FLUSHALL it is another store: no token of the old one is accepted, none returns."""
    url = f"redis://127.0.0.1:{own_server.port}"
    with a_fleet(tmp_path, url) as fleet:
        made = fleet.logins(3)
        assert "error" not in fleet.revoke(fleet.workers[0], made[0])
        own_server.ask("FLUSHALL")

        def refused() -> bool:
            return all(said(one, made[1]) != "accepted" for one in fleet.workers)

        wait_until(refused, MAX_STALENESS + 1)
        fleet.wait_fresh()
        assert refused()
        late = fleet.login(fleet.workers[1])
        assert reason(fleet.workers[2], late) == "accepted"
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


def test_a_server_that_is_slow_or_busy(own_server: Server, tmp_path: Path, judge: Judge) -> None:
    """Calls end by their deadline, nodes go stale within the bound and come back by themselves."""
    url = f"redis://127.0.0.1:{own_server.port}"
    with a_fleet(tmp_path, url) as fleet:
        made = fleet.logins(2)
        assert "error" not in fleet.revoke(fleet.workers[0], made[0])
        own_server.freeze()
        began = time.monotonic()
        told = fleet.revoke(fleet.workers[1], made[1], "id")
        assert "error" in told
        assert time.monotonic() - began < 4.0
        wait_until(lambda: not any(map(fresh, fleet.workers)), MAX_STALENESS + 3)
        own_server.thaw()
        fleet.wait_fresh()
        assert reason(fleet.workers[2], made[0]) == "revoked"
        assert came_true(lambda: revoke_for(fleet, 0.5) > 0, 5)
        judge(fleet, "frozen for a while")


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
