"""The Redis store keeps the contract of every cluster store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import ClusterStore
from flask_clustertoken.testing.contract import StoreContract
from tests.servers.redis import Guarded, Server, needs_valkey


def handles(url: str, realm: str, clock: ManualClock) -> Iterator[Callable[[], ClusterStore]]:
    made: list[ClusterStore] = []

    def make() -> ClusterStore:
        made.append(open_store(url, realm=realm, clock=clock, timeout=15))
        return made[-1]

    yield make
    for handle in made:
        handle.close()


@pytest.mark.redis
class TestRedisStore(StoreContract):
    """Against one real Redis server."""

    @pytest.fixture
    def make_store(
        self, url: str, realm: str, clock: ManualClock
    ) -> Iterator[Callable[[], ClusterStore]]:
        yield from handles(url, realm, clock)


@pytest.mark.redis
@needs_valkey
class TestOnValkey(StoreContract):
    """Against one real Valkey server."""

    @pytest.fixture
    def make_store(
        self, valkey: Server, realm: str, clock: ManualClock
    ) -> Iterator[Callable[[], ClusterStore]]:
        yield from handles(f"redis://127.0.0.1:{valkey.port}", realm, clock)


@pytest.mark.redis
class TestBehindSentinels(StoreContract):
    """Against a primary with two replicas, one of which has to acknowledge each write."""

    @pytest.fixture
    def make_store(
        self, guarded: Guarded, realm: str, clock: ManualClock
    ) -> Iterator[Callable[[], ClusterStore]]:
        yield from handles(guarded.url, realm, clock)
