"""A backup is put back, and a disk is full, while nodes go on that know more."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Tell
from tests.ensemble.any_store import (
    Judge,
    StoreFleet,
    judging,
    log_outs_go_on,
    reason,
    wait_revoked,
)
from tests.ensemble.put_back import more_than_anybody_can_mend
from tests.servers.postgresql import Server
from tests.servers.unprivileged import give, new_folder
from tests.waiting import wait_until

pytestmark = [pytest.mark.postgresql, pytest.mark.processes]


@pytest.fixture
def judge(tell: Tell) -> Judge:
    return judging(tell, "postgresql")


@pytest.mark.parametrize("into", ["the same server", "another server"])
def test_a_dump_that_was_put_back(
    into: str, own_server: Server, tmp_path: Path, judge: Judge
) -> None:
    """Nodes that live put back what the dump lacks, before a newcomer accepts anything."""
    with StoreFleet.on(tmp_path, own_server.url) as fleet:
        made = fleet.logins(5)
        backup = own_server.dump()
        # (Not the whole realm: that would end the login which is to go on.)
        for what, one in (("id", made[0]), ("subject", made[1]), ("label", made[2])):
            assert "error" not in fleet.revoke(fleet.workers[0], one, what)
        wait_revoked(fleet.workers, *made[:3])
        if into == "another server":
            # Under the old one's address: to the nodes it is the same host.
            own_server.kill()
            shutil.rmtree(own_server.data)
            own_server.initialise(shut=True)
        own_server.restore(backup)
        fleet.wait_fresh(deadline=90)
        newcomer = fleet.start_worker()
        fleet.wait_fresh([newcomer])
        for worker in fleet.workers:
            for one in made[:3]:
                assert reason(worker, one) == "revoked"
            assert reason(worker, made[3]) == "accepted"
        log_outs_go_on(fleet)
        judge(fleet, f"a dump put back into {into}")


def test_after_a_loss_that_nobody_can_mend_restored_ends_what_was_before(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old dump in the place of a database that had gone on longer than any node remembers."""

    def take() -> Callable[[], None]:
        backup = own_server.dump()
        return lambda: own_server.restore(backup)

    more_than_anybody_can_mend(own_server.url, monkeypatch, take)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, and a small one; only root may make one."""
    folder = new_folder()
    mount = ["mount", "-t", "tmpfs", "-o", "size=120m", "none", str(folder)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    try:
        if made.returncode:
            pytest.skip(f"a small disk cannot be made here: {made.stderr.strip()}")
        give(folder)
        yield folder
    finally:
        if not made.returncode:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def fill(disk: Path) -> Path:
    """Write until nothing more goes in."""
    filler = disk / "filler"
    size = 1 << 20
    with filler.open("wb", buffering=0) as file:
        while size >= 512:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    return filler


def test_a_disk_that_is_full(small_disk: Path, tmp_path: Path, judge: Judge) -> None:
    """A revocation that could not be written is an error; with room again all goes on."""
    server = Server({"min_wal_size": "32MB", "max_wal_size": "48MB"}, folder=small_disk)
    with server, StoreFleet.on(tmp_path, server.url) as fleet:
        made = fleet.logins(4)
        assert "error" not in fleet.revoke(fleet.workers[0], made[0])
        filler = fill(small_disk)
        # Its tables cannot grow; then its log cannot either, and the server itself goes down.
        failed = []

        def refused() -> bool:
            login = fleet.login(fleet.workers[0], labels=[f"long-{n}" * 20 for n in range(40)])
            if "error" not in login:
                login = fleet.revoke(fleet.workers[0], login)
            failed.append(login)
            return "error" in login

        wait_until(refused, 120)
        filler.unlink()
        if not server.running:
            server.kill()
            server.start()
        fleet.wait_fresh()
        wait_revoked(fleet.workers, made[0])
        for worker in fleet.workers:
            assert reason(worker, made[3]) == "accepted"
        log_outs_go_on(fleet)
        judge(fleet, "disk full")
