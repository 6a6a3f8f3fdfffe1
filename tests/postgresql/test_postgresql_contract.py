"""The PostgreSQL store keeps the contract of every cluster store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import ClusterStore
from flask_clustertoken.testing.contract import StoreContract


def handles(url: str, realm: str, clock: ManualClock) -> Iterator[Callable[[], ClusterStore]]:
    made: list[ClusterStore] = []

    def make() -> ClusterStore:
        made.append(open_store(url, realm=realm, clock=clock, timeout=15))
        return made[-1]

    yield make
    for handle in made:
        handle.close()


@pytest.mark.postgresql
class TestPostgreSQLStore(StoreContract):
    """Against one real PostgreSQL server."""

    @pytest.fixture
    def make_store(
        self, url: str, realm: str, clock: ManualClock
    ) -> Iterator[Callable[[], ClusterStore]]:
        yield from handles(url, realm, clock)
