"""The console over ZooKeeper."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.console.desk.over_servers import an_administrator_at_work
from tests.servers.zookeeper import Ensemble

pytestmark = pytest.mark.zookeeper


def test_the_console_of_two_hosts(ensemble: Ensemble, zk_root: str, tmp_path: Path) -> None:
    """Lists, ends, confirms, follows and rotates."""
    an_administrator_at_work(ensemble.url(zk_root), tmp_path)
