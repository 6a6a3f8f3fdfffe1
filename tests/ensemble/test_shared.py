"""What servers share over ZooKeeper."""

from __future__ import annotations

import pytest

from tests.servers.zookeeper import Ensemble
from tests.shared.live import Place, SharedDataContract

pytestmark = pytest.mark.zookeeper


@pytest.fixture
def place(ensemble: Ensemble, zk_root: str) -> Place:
    return Place(ensemble.url(zk_root))


class TestSharedDataOverZooKeeper(SharedDataContract):
    """With three servers."""

    pieces_held = 5
