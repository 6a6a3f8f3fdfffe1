"""What servers share over ZooKeeper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.servers.zookeeper import Ensemble
from tests.shared.overlines import SharedDataOverLines
from tests.shared.places import Lines, Place

pytestmark = pytest.mark.zookeeper


@pytest.fixture
def place(ensemble: Ensemble, zk_root: str) -> Place:
    return Place(ensemble.url(zk_root))


@pytest.fixture
def lines(ensemble: Ensemble, zk_root: str) -> Iterator[Lines]:
    def by(ports: Sequence[int]) -> Place:
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        return Place(f"zookeeper://{hosts}{zk_root}")

    with Lines.to([one.port for one in ensemble.servers], by) as lines:
        yield lines


class TestSharedDataOverZooKeeper(SharedDataOverLines):
    """With three servers."""

    name = "zookeeper"
