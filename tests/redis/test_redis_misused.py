"""Promises 1 and 2 while a Redis server is full, has no line left, and has other passwords; and
while nodes have other times. Each scenario is judged on a recorded history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ensemble.any_store import (
    Judge,
    StoreFleet,
    a_clock_jumps,
    fresh,
    log_outs_go_on,
    reason,
    wait_revoked,
)
from tests.ensemble.harness import MAX_STALENESS
from tests.rounds import rounds
from tests.servers.redis import Server
from tests.waiting import holds_for, wait_until

from .fleet import a_fleet, cut_lines

pytestmark = [pytest.mark.redis, pytest.mark.processes]


@pytest.fixture
def fleet(own_server: Server, tmp_path: Path) -> Iterator[StoreFleet]:
    with a_fleet(tmp_path, f"redis://127.0.0.1:{own_server.port}") as fleet:
        yield fleet


def nobody_fresh(fleet: StoreFleet) -> bool:
    return not any(map(fresh, fleet.workers))


def trouble(fleet: StoreFleet) -> str:
    return " ".join(str(one.ask("ready")["trouble"]) for one in fleet.workers)


def test_a_server_without_memory(own_server: Server, fleet: StoreFleet, judge: Judge) -> None:
    """A revocation that finds no room is an error, nodes go stale; with room again all goes on."""
    for _ in range(rounds(1, 10)):
        made = fleet.logins(3)
        wait_until(
            lambda made=made: "error" not in fleet.revoke(fleet.workers[0], made[0], "id"), 60
        )
        own_server.ask("CONFIG", "SET", "maxmemory", "1mb")
        told = fleet.revoke(fleet.workers[1], made[1], "id")
        assert "error" in told, told
        wait_until(lambda: nobody_fresh(fleet), 60)
        wait_until(lambda: "maxmemory" in trouble(fleet), 60)
        holds_for(lambda: nobody_fresh(fleet), MAX_STALENESS)
        own_server.ask("CONFIG", "SET", "maxmemory", "0")
        fleet.wait_fresh()
        wait_revoked(fleet.workers, made[0])
        for worker in fleet.workers:
            assert reason(worker, made[1]) == "accepted"
        log_outs_go_on(fleet)
    judge(fleet, "out of memory")


def test_a_server_without_a_free_connection(
    own_server: Server, fleet: StoreFleet, judge: Judge
) -> None:
    """Who has one goes on; who comes is told why not, and is let in once there is one."""
    import redis

    made = fleet.logins(3)
    # (A line of its own from before: another one would be refused as well.)
    with redis.Redis(port=own_server.port, single_connection_client=True) as admin:
        admin.config_set("maxclients", 1)
        late = fleet.start_worker()
        wait_until(lambda: "max number of clients" in str(late.ask("ready")["trouble"]), 60)
        assert not fresh(late)
        # (Two of its threads that ask at once want a second line.)
        wait_until(lambda: "error" not in fleet.revoke(fleet.workers[0], made[0], "id"), 60)
        wait_revoked(fleet.workers[:3], made[0])
        holds_for(lambda: not fresh(late), MAX_STALENESS)
        admin.config_set("maxclients", 1000)
    fleet.wait_fresh()
    wait_revoked([late], made[0])
    assert reason(late, made[1]) == "accepted"
    log_outs_go_on(fleet)
    judge(fleet, "connection limit reached")


def test_a_password_that_was_changed(own_server: Server, tmp_path: Path, judge: Judge) -> None:
    """Who has to sign on anew is refused, says so without the password, and comes back."""
    rights = ("~*", "&*", "+@all")
    own_server.ask("ACL", "SETUSER", "app", "on", ">old-secret", *rights)
    url = f"redis://app:old-secret@127.0.0.1:{own_server.port}"
    with a_fleet(tmp_path, url) as fleet:
        made = fleet.logins(3)
        assert "error" not in fleet.revoke(fleet.workers[0], made[0])
        own_server.ask("ACL", "SETUSER", "app", "resetpass", ">another")
        cut_lines(own_server)
        told = fleet.revoke(fleet.workers[1], made[1], "id")
        assert "error" in told, told
        wait_until(lambda: nobody_fresh(fleet), 60)
        wait_until(lambda: "password" in trouble(fleet).lower(), 60)
        assert "old-secret" not in trouble(fleet)
        own_server.ask("ACL", "SETUSER", "app", "resetpass", ">old-secret")
        fleet.wait_fresh()
        wait_revoked([fleet.workers[2]], made[0])
        assert reason(fleet.workers[1], made[2]) == "accepted"
        log_outs_go_on(fleet)
        for log in tmp_path.glob("*.log"):
            assert "old-secret" not in log.read_text()
        judge(fleet, "password changed")


def test_a_clock_that_jumps(fleet: StoreFleet, judge: Judge) -> None:
    """Two hours ahead or back: that node is stale, the others notice nothing, and what was revoked
    meanwhile it refuses when its clock is right again."""
    a_clock_jumps(fleet, rounds(1, 5))
    judge(fleet, "a clock that jumps")
