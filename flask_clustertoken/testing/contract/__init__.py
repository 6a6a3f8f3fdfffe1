"""The cluster store's contract as tests: one for each sentence of ``stores.base``.

To put a store through it, derive one class and give it one fixture::

    from flask_clustertoken.testing.contract import StoreContract

    class TestMyStore(StoreContract):
        @pytest.fixture
        def make_store(self, clock, tmp_path):
            handles = []

            def make():
                handles.append(MyStore(tmp_path, clock=clock))
                return handles[-1]

            yield make
            for handle in handles:
                handle.close()

Each call of what ``make_store`` gives returns another handle on the *same* store, which is
empty when a test begins. All handles judge life by the fixture ``clock``, which stands still
until a test moves it. What a store says of itself (``shared``, ``embedded``, ``look_every``)
decides what is asked of it. This package needs pytest; nothing else in ours does.
"""

from __future__ import annotations

from .feed import FeedContract
from .fixtures import (
    KEYS,
    PATIENCE,
    MakeStore,
    StoreFixtures,
    at_once,
    entry,
    feed_of,
    in_a_child,
    seal,
    walk,
)
from .lease import LeaseContract
from .life import LifeContract
from .presence import PresenceContract
from .records import RecordsContract
from .root import RootContract
from .transactions import TransactionsContract
from .upgrade import UpgradeContract

__all__ = [
    "KEYS",
    "PATIENCE",
    "FeedContract",
    "LeaseContract",
    "LifeContract",
    "MakeStore",
    "PresenceContract",
    "RecordsContract",
    "RootContract",
    "StoreContract",
    "StoreFixtures",
    "TransactionsContract",
    "UpgradeContract",
    "at_once",
    "entry",
    "feed_of",
    "in_a_child",
    "seal",
    "walk",
]


class StoreContract(
    RecordsContract,
    FeedContract,
    TransactionsContract,
    PresenceContract,
    RootContract,
    LeaseContract,
    LifeContract,
    UpgradeContract,
):
    """All of it: what every cluster store has to pass."""
