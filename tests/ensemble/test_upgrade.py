"""A rolling upgrade: old and new versions side by side, then the new one alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.zookeeper import Ensemble
from tests.waiting import wait_until

from .harness import Fleet

pytestmark = pytest.mark.zookeeper


def test_old_and_new_versions_side_by_side(
    ensemble: Ensemble, zk_root: str, tmp_path: Path
) -> None:
    """The new version writes what the old one reads, until no old node is left."""
    with Fleet(ensemble, zk_root, tmp_path, size=2) as fleet:
        old = list(fleet.workers)
        new = fleet.start_worker(mutation="next-version")
        fleet.wait_fresh([new])
        made = fleet.logins(3, new)
        told = fleet.revoke(new, made[0], confirm=5.0)
        assert told["in_force"] is True
        assert old[0].ask("validate", token=made[0]["token"], text=made[0]["text"])["reason"] == (
            "revoked"
        )
        assert old[1].ask("validate", token=made[1]["token"], text=made[1]["text"])["accepted"]

        for worker in old:
            worker.stop()
        fleet.revoke(new, made[1])

        late = fleet.start_worker(mutation="")
        wait_until(lambda: "version" in late.ask("ready")["trouble"], 10)
        refused = late.ask("validate", token=made[2]["token"], text=made[2]["text"])
        assert refused == {"accepted": False, "reason": "stale"}
        assert new.ask("validate", token=made[2]["token"], text=made[2]["text"])["accepted"]
        verdict = fleet.verdict()

    assert verdict.violations == []
