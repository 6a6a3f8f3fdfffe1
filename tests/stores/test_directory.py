"""The embedded store keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.stores.directory import DirectoryStore
from flask_clustertoken.testing.contract import MakeStore, StoreContract


# (Of the contract's tests one carries pytest.mark.processes.)
class TestDirectoryStore(StoreContract):
    @pytest.fixture
    def make_store(self, clock: ManualClock, tmp_path: Path) -> Iterator[MakeStore]:
        handles: list[DirectoryStore] = []

        def make() -> DirectoryStore:
            handles.append(DirectoryStore(tmp_path / "shared", clock=clock))
            return handles[-1]

        yield make
        for handle in handles:
            handle.close()
