"""The store in memory keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.stores.memory import MemoryStore, Shelf
from flask_clustertoken.testing.contract import MakeStore, StoreContract


# (Of the contract's tests one carries pytest.mark.processes.)
class TestMemoryStore(StoreContract):
    @pytest.fixture
    def make_store(self, clock: ManualClock) -> Iterator[MakeStore]:
        shelf = Shelf()
        handles: list[MemoryStore] = []

        def make() -> MemoryStore:
            handles.append(MemoryStore(shelf, clock=clock))
            return handles[-1]

        yield make
        for handle in handles:
            handle.close()
