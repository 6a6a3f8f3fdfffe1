"""The ZooKeeper store keeps the contract of every cluster store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import ClusterStore
from flask_clustertoken.testing.contract import StoreContract
from tests.servers.zookeeper import Ensemble


@pytest.mark.zookeeper
class TestZooKeeperStore(StoreContract):
    """Against three real servers; each handle has a connection of its own."""

    @pytest.fixture
    def make_store(
        self, ensemble: Ensemble, zk_root: str, clock: ManualClock
    ) -> Iterator[Callable[[], ClusterStore]]:
        handles: list[ClusterStore] = []

        def make() -> ClusterStore:
            handles.append(open_store(ensemble.url(zk_root), clock=clock, timeout=15))
            return handles[-1]

        yield make
        for handle in handles:
            handle.close()
