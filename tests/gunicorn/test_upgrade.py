"""A rolling upgrade on one host: servers of the version before beside new ones on one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Tell
from tests.rounds import rounds
from tests.upgrade.bound import bind_beside_old_hosts
from tests.upgrade.rolling import KINDS, Deployment, roll

pytestmark = pytest.mark.gunicorn


def test_old_servers_are_replaced_one_by_one(tmp_path: Path, tell: Tell) -> None:
    """Real ones, under load: what either version revokes is refused by both; a lock waits until
    no old one is left; an old one that comes later is stale, and lets nobody in."""
    with Deployment(tmp_path) as deployment:
        roll(deployment, KINDS, rounds(1, 10))
        counted = deployment.crowd.counted
    assert counted["renewals by the old"]
    assert counted["renewals by the new"]
    tell("a rolling upgrade (directory)", **counted)


def test_an_old_server_lets_nobody_in_whose_login_is_bound(tmp_path: Path) -> None:
    """It could not ask for the proof: so none is bound while it is there, and what was bound
    before it came back is refused."""
    with Deployment(tmp_path, DEVICE_BOUND="offer") as deployment:
        bind_beside_old_hosts(deployment)
