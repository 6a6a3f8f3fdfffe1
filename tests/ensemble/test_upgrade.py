"""A rolling upgrade: old and new versions side by side, then the new one alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Tell
from tests.rounds import rounds
from tests.servers.zookeeper import Ensemble
from tests.upgrade.bound import bind_beside_old_hosts
from tests.upgrade.rolling import KINDS, Deployment, roll
from tests.waiting import wait_until

from .harness import Fleet

pytestmark = pytest.mark.zookeeper


def test_old_and_new_versions_side_by_side(
    ensemble: Ensemble, zk_root: str, tmp_path: Path
) -> None:
    """The new version writes what the old one reads, until no old node is left."""
    with Fleet(ensemble, zk_root, tmp_path, size=2, mutation="version-before") as fleet:
        old = list(fleet.workers)
        new = fleet.start_worker(mutation="")
        fleet.wait_fresh([new])
        made = fleet.logins(7, new)
        for what, one in zip(("id", "label", "subject"), made, strict=False):
            told = fleet.revoke(new, one, what, confirm=5.0)
            assert told["in_force"] is True
            for worker in old:
                answer = worker.ask("validate", token=one["token"], text=one["text"])
                assert answer["reason"] == "revoked"
        for worker, one in zip(old, made[3:5], strict=True):
            assert worker.ask("validate", token=one["token"], text=one["text"])["accepted"]
        # What the old ones would not understand is not written, and they are named.
        refused = new.ask("lock", subject=made[5]["subject"])
        assert len(refused["too_old"]) == 2
        assert all(worker.ask("ready")["fresh"] for worker in old)
        assert new.ask("validate", token=made[5]["token"], text=made[5]["text"])["accepted"]

        for worker in old:
            worker.stop()
        assert new.ask("lock", subject=made[5]["subject"])["rev"]
        locked = new.ask("validate", token=made[5]["token"], text=made[5]["text"])
        assert locked == {"accepted": False, "reason": "locked"}

        late = fleet.start_worker(mutation="version-before")
        wait_until(lambda: "version" in late.ask("ready")["trouble"])
        refused = late.ask("validate", token=made[6]["token"], text=made[6]["text"])
        assert refused == {"accepted": False, "reason": "stale"}
        assert new.ask("validate", token=made[6]["token"], text=made[6]["text"])["accepted"]
        verdict = fleet.verdict()

    assert verdict.violations == []


@pytest.mark.gunicorn
def test_hosts_of_the_real_version_before_are_replaced_one_by_one(
    ensemble: Ensemble, zk_root: str, tmp_path: Path, tell: Tell
) -> None:
    """Under load: what either version revokes is refused by both as soon as it is confirmed."""
    with Deployment(tmp_path, ensemble.url(zk_root), workers=1) as deployment:
        roll(deployment, KINDS, rounds(1, 10))
        counted = deployment.crowd.counted
    assert counted["renewals by the old"]
    assert counted["renewals by the new"]
    tell("a rolling upgrade (ZooKeeper)", **counted)


@pytest.mark.gunicorn
def test_an_old_host_that_was_silent_comes_back_stale(
    ensemble: Ensemble, zk_root: str, tmp_path: Path
) -> None:
    """It was taken for gone when a lock was written: it lets nobody in, not even for a moment."""
    with Deployment(tmp_path, ensemble.url(zk_root), workers=1) as deployment:
        old, new = deployment.start_all(True, False)
        crowd = deployment.crowd
        standing = [deployment.made(crowd.login, new), deployment.made(crowd.program, new)]
        for one in standing:
            deployment.says(old, one, 200)
        with deployment.frozen(old):
            deployment.check_locked(new)
        deployment.check_stale(old, standing)
        assert crowd.findings() == []


@pytest.mark.gunicorn
def test_an_old_host_lets_nobody_in_whose_login_is_bound(
    ensemble: Ensemble, zk_root: str, tmp_path: Path
) -> None:
    """Also by what it hears over ZooKeeper."""
    url = ensemble.url(zk_root)
    with Deployment(tmp_path, url, workers=1, DEVICE_BOUND="offer") as deployment:
        bind_beside_old_hosts(deployment)
