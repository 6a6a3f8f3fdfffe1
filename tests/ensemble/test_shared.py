"""What servers share over ZooKeeper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.servers.zookeeper import Ensemble
from tests.shared.failover import nothing_is_lost
from tests.shared.overlines import SharedDataOverLines
from tests.shared.places import Lines, Place
from tests.waiting import wait_until

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


def test_the_leader_is_killed_while_a_file_is_stored(ensemble: Ensemble, place: Place) -> None:
    """Another one leads: files are whole, slots stay taken, a lease has one holder, and its fence
    goes on."""

    def fails() -> None:
        old = ensemble.leader()
        old.kill()
        wait_until(lambda: ensemble.leader() is not old, 60)

    nothing_is_lost(place, fails)
