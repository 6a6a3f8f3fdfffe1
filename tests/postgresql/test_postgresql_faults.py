"""Promises 1 and 2 while one PostgreSQL server is killed, frozen, filled and misused.

Each scenario is judged on a recorded history, and says the worst delay that it saw.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Tell
from tests.ensemble.any_store import (
    Judge,
    StoreFleet,
    a_clock_jumps,
    fresh,
    judging,
    log_outs_go_on,
    logged_in,
    reason,
    revoke_for,
    said,
    wait_revoked,
)
from tests.ensemble.harness import MAX_STALENESS
from tests.ensemble.proxy import Proxy
from tests.pace import moments
from tests.rounds import rounds
from tests.servers.postgresql import APP, Server
from tests.servers.running import started
from tests.waiting import holds_for, wait_until

pytestmark = [pytest.mark.postgresql, pytest.mark.processes]

#: Seconds of a fault that goes on while users log in and out.
WHILE = rounds(3, 60)


@pytest.fixture
def judge(tell: Tell) -> Judge:
    return judging(tell, "postgresql")


def trouble(fleet: StoreFleet) -> str:
    return " ".join(str(one.ask("ready")["trouble"]) for one in fleet.workers)


def nobody_fresh(fleet: StoreFleet) -> bool:
    return not any(map(fresh, fleet.workers))


def test_without_a_fault_every_worker_refuses_soon(
    own_server: Server, tmp_path: Path, judge: Judge
) -> None:
    """A revocation is confirmed by every worker, and none accepts after that."""
    with StoreFleet.on(tmp_path, own_server.url) as fleet:
        for index in range(rounds(20, 400)):
            made = fleet.login(fleet.workers[index % 3])
            what = "realm" if index % 10 == 9 else ""
            told = fleet.revoke(fleet.workers[(index + 1) % 3], made, what, confirm=25.0)
            assert told.get("in_force"), told
        judge(fleet, "no fault")


def test_a_server_that_is_killed(own_server: Server, tmp_path: Path, judge: Judge) -> None:
    """``immediate``, again and again: what was acknowledged is there afterwards."""
    # (A server that does not wait for its disk is another one after each start.)
    own_server.configure(fsync="on")
    with StoreFleet.on(tmp_path, own_server.url) as fleet:
        made = fleet.logins(6)
        for one in made[:3]:
            assert "error" not in fleet.revoke(fleet.workers[0], one)
        for _ in range(rounds(2, 30)):
            own_server.kill()
            revoke_for(fleet, 0.5)
            own_server.start()
            fleet.wait_fresh()
            log_outs_go_on(fleet)
        wait_revoked([fleet.workers[2]], *made[:3])
        assert reason(fleet.workers[1], made[4]) == "accepted"
        judge(fleet, "server killed")


def test_a_server_that_is_frozen(own_server: Server, tmp_path: Path, judge: Judge) -> None:
    """Calls end by their deadline, nodes go stale within the bound and come back by themselves."""
    with StoreFleet.on(tmp_path, own_server.url) as fleet:
        made = fleet.logins(2)
        assert "error" not in fleet.revoke(fleet.workers[0], made[0])
        # (What it has not heard of by then it could not know: it would say that it is stale.)
        wait_revoked([fleet.workers[2]], made[0])
        own_server.freeze()
        began = time.monotonic()
        told = fleet.revoke(fleet.workers[1], made[1], "id")
        assert "error" in told
        # (Its timeout is 2 s.)
        assert time.monotonic() - began < 10.0 + moments(50)
        wait_until(lambda: nobody_fresh(fleet), 60)
        # (Where it has to ask for the record once more it cannot say which; it accepts it never.)
        assert said(fleet.workers[2], made[0]) in ("revoked", "stale")
        own_server.thaw()
        fleet.wait_fresh()
        wait_revoked([fleet.workers[2]], made[0])
        log_outs_go_on(fleet)
        judge(fleet, "frozen for a while")


def test_connections_that_are_ended_again_and_again(
    own_server: Server, tmp_path: Path, judge: Judge
) -> None:
    """``pg_terminate_backend`` on each of them: what a call answers holds; then all is well."""
    with StoreFleet.on(tmp_path, own_server.url) as fleet:
        made = fleet.logins(3)
        end, ended, done = time.monotonic() + WHILE, 0, 0
        while time.monotonic() < end:
            ended += own_server.cut_lines()
            done += revoke_for(fleet, 0.1)
        assert ended > 0
        assert done > 0
        fleet.wait_fresh()
        log_outs_go_on(fleet)
        for worker in fleet.workers:
            assert reason(worker, made[0]) == "accepted"
        judge(fleet, "connections ended again and again")


def test_a_lock_that_somebody_else_holds(own_server: Server, tmp_path: Path, judge: Judge) -> None:
    """A session with our tables in its hands: nothing hangs, nothing counts, nobody vouches.

    (For a minute in the full run.)
    """
    import psycopg

    with (
        StoreFleet.on(tmp_path, own_server.url) as fleet,
        psycopg.connect(own_server.url, user="postgres") as other,
    ):
        made = fleet.logins(2)
        tables = other.execute(
            "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables"
            " WHERE schemaname = 'clustertoken'"
        ).fetchone()
        assert tables
        other.execute(f"LOCK TABLE {tables[0]} IN ACCESS EXCLUSIVE MODE")  # type: ignore[arg-type]
        began = time.monotonic()
        assert "error" in fleet.revoke(fleet.workers[1], made[1], "id")
        assert time.monotonic() - began < 10.0 + moments(50)
        wait_until(lambda: nobody_fresh(fleet), 60)
        holds_for(lambda: nobody_fresh(fleet), max(WHILE, MAX_STALENESS))
        other.rollback()
        fleet.wait_fresh()
        wait_until(lambda: "error" not in fleet.revoke(fleet.workers[0], made[0]), 60)
        judge(fleet, "tables locked by somebody else")


def test_a_server_without_a_free_connection(
    own_server: Server, tmp_path: Path, judge: Judge
) -> None:
    """Who has a connection goes on; who comes is told why not, and let in once there is one."""
    import psycopg

    own_server.stop()
    own_server.configure(max_connections="30")
    own_server.start()
    with StoreFleet.on(tmp_path, own_server.url) as fleet:
        made = fleet.logins(2)
        taken = []
        try:
            with suppress(psycopg.OperationalError):
                while True:
                    taken.append(psycopg.connect(own_server.url))
            assert "error" not in fleet.revoke(fleet.workers[0], made[0])
            late = fleet.start_worker(index=0)
            wait_until(lambda: "connection" in str(late.ask("ready")["trouble"]), 60)
            assert not fresh(late)
        finally:
            for one in taken:
                one.close()
        fleet.wait_fresh()
        wait_revoked([late], made[0])
        assert reason(late, made[1]) == "accepted"
        judge(fleet, "max_connections reached")


def test_a_password_that_was_changed(own_server: Server, tmp_path: Path, judge: Judge) -> None:
    """Who has to sign on anew is refused, says so without the password, and comes back."""
    own_server.hba = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256"
    own_server.configure()
    url = own_server.url.replace(f"{APP}@", f"{APP}:{APP}-secret@")
    own_server.sql(f"ALTER ROLE {APP} PASSWORD '{APP}-secret'")
    with StoreFleet.on(tmp_path, url) as fleet:
        made = fleet.logins(2)
        assert "error" not in fleet.revoke(fleet.workers[0], made[0])
        own_server.sql(f"ALTER ROLE {APP} PASSWORD 'another'")
        own_server.cut_lines()
        wait_until(lambda: nobody_fresh(fleet), 60)
        wait_until(lambda: "password" in trouble(fleet), 60)
        assert f"{APP}-secret" not in trouble(fleet)
        own_server.sql(f"ALTER ROLE {APP} PASSWORD '{APP}-secret'")
        fleet.wait_fresh()
        wait_revoked([fleet.workers[2]], made[0])
        assert reason(fleet.workers[1], made[1]) == "accepted"
        for log in tmp_path.glob("*.log"):
            assert f"{APP}-secret" not in log.read_text()
        judge(fleet, "password changed")


def test_clocks_that_differ(own_server: Server, tmp_path: Path, judge: Judge) -> None:
    """By less than a minute they change nothing; an hour ahead or behind is said and is stale."""
    with StoreFleet(
        None,  # type: ignore[arg-type]
        "",
        tmp_path,
        urls=[own_server.url],
        skews=(0.0, 30.0, -30.0, 3600.0, -3600.0),
    ) as fleet:
        made = fleet.logins(2)
        assert "error" not in fleet.revoke(fleet.workers[1], made[0])
        ahead, behind = (fleet.start_worker(index=index) for index in (3, 4))
        for one in (ahead, behind):
            wait_until(lambda one=one: "clock" in str(one.ask("ready")["trouble"]), 60)
            assert not fresh(one)
        wait_revoked(fleet.workers[:3], made[0])
        for one in fleet.workers[:3]:
            assert reason(one, made[1]) == "accepted"
        log_outs_go_on(fleet)
        judge(fleet, "clocks differ")


def test_a_clock_that_jumps(own_server: Server, tmp_path: Path, judge: Judge) -> None:
    """Two hours ahead or back: that node is stale, the others notice nothing, and what was revoked
    meanwhile it refuses when its clock is right again."""
    with StoreFleet.on(tmp_path, own_server.url) as fleet:
        a_clock_jumps(fleet, rounds(1, 5))
        judge(fleet, "a clock that jumps")


@pytest.fixture
def with_a_clock() -> Iterator[Server]:
    """A server that has a clock of its own."""
    yield from started(lambda: Server(own_clock=True))


def test_the_servers_own_clock_jumps(with_a_clock: Server, tmp_path: Path, judge: Judge) -> None:
    """Two hours ahead or back: every node is stale and says why, revocations are taken all the
    same, and with the right time all of them are in force and nobody else is out."""
    with StoreFleet.on(tmp_path, with_a_clock.url) as fleet:
        for ahead in (7200.0, -7200.0) * rounds(1, 5):
            made = fleet.logins(3)
            with_a_clock.set_clock(ahead)
            assert "error" not in fleet.revoke(fleet.workers[0], made[0])
            wait_until(lambda: trouble(fleet).count("clock") == len(fleet.workers), 60)
            assert nobody_fresh(fleet)
            assert "clock" in fleet.login(fleet.workers[1])["error"]
            assert "error" not in fleet.revoke(fleet.workers[1], made[1], "subject")
            with_a_clock.set_clock(0)
            fleet.wait_fresh()
            wait_revoked(fleet.workers, *made[:2])
            for worker in fleet.workers:
                assert reason(worker, made[2]) == "accepted"
        log_outs_go_on(fleet)
        judge(fleet, "the server's clock jumps")


def test_a_network_that_swallows(own_server: Server, tmp_path: Path, judge: Judge) -> None:
    """Requests, answers, or connections: the node behind it is stale in time, and no other one.

    A revocation whose answer was lost is made once, or not at all, and never called done.
    """
    line = Proxy(("127.0.0.1", own_server.port))
    behind = own_server.url.replace(str(own_server.port), str(line.port))
    try:
        with StoreFleet.on(tmp_path, own_server.url, own_server.url, behind) as fleet:
            cut = fleet.workers[2]
            for fault in (line.drop, line.mute, line.reject, line.ignore):
                made = fleet.logins(2)
                fault()
                told = fleet.revoke(cut, made[0], "id")
                assert "error" in told, told
                assert "error" not in fleet.revoke(fleet.workers[0], made[1], "id")
                wait_until(lambda: not fresh(cut), 60)
                fleet.wait_fresh(fleet.workers[:2])
                line.heal()
                fleet.wait_fresh()
                wait_revoked(fleet.workers, made[1])
            judge(fleet, "a network that swallows")
    finally:
        line.close()


def test_a_worker_that_starts_while_no_server_is_there(own_server: Server, tmp_path: Path) -> None:
    """It says what is wrong, accepts nothing, and is fresh once the server has come."""
    own_server.stop()
    fleet = StoreFleet.on(tmp_path, own_server.url)
    try:
        worker = fleet.start_worker()
        wait_until(lambda: own_server.address in str(worker.ask("ready")["trouble"]), 60)
        assert not fresh(worker)
        own_server.start()
        fleet.wait_fresh([worker])
        logged_in(fleet, worker)
    finally:
        fleet.__exit__()
