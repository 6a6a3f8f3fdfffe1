"""The contract holds behind a pooler that lends connections, and behind standbys that are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import ClusterStore
from flask_clustertoken.testing.contract import StoreContract
from tests.servers.pgbouncer import PgBouncer
from tests.servers.standbys import Replicated


def handles(url: str, realm: str, clock: ManualClock) -> Iterator[Callable[[], ClusterStore]]:
    made: list[ClusterStore] = []

    def make() -> ClusterStore:
        made.append(open_store(url, realm=realm, clock=clock, timeout=15))
        return made[-1]

    yield make
    for handle in made:
        handle.close()


@pytest.mark.postgresql
class TestThroughPgBouncer(StoreContract):
    """In transaction mode: no session of ours lasts longer than a transaction."""

    @pytest.fixture
    def make_store(
        self, pooled: PgBouncer, realm: str, clock: ManualClock
    ) -> Iterator[Callable[[], ClusterStore]]:
        yield from handles(pooled.url, realm, clock)


@pytest.mark.postgresql
class TestBehindStandbys(StoreContract):
    """Against a primary with two standbys, one of which has to have each commit."""

    @pytest.fixture
    def make_store(
        self, followed: Replicated, realm: str, clock: ManualClock
    ) -> Iterator[Callable[[], ClusterStore]]:
        yield from handles(followed.url, realm, clock)
