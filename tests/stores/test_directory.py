"""The embedded store keeps the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.stores.base import Add
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


def test_a_page_of_a_walk_costs_the_same_wherever_it_is(
    clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last page reads no more than the first one: a walk takes no square of what there is."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connect = sqlite3.connect

    def counted(*args: Any, **more: Any) -> sqlite3.Connection:
        made = connect(*args, **more)
        made.set_progress_handler(count, 10)
        return made

    monkeypatch.setattr(sqlite3, "connect", counted)
    with DirectoryStore(tmp_path / "shared", clock=clock) as store:
        keys = [f"token/{number:05}" for number in range(5000)]
        for start in range(0, 5000, 500):
            store.append([], [Add(key, b"x", None) for key in keys[start : start + 500]])
        costs, met = [], []
        after = ""
        while True:
            steps = 0
            page = store.scan("token/", after, limit=100)
            if not page:
                break
            costs.append(steps)
            met += [key for key, _ in page]
            after = page[-1][0]
    assert met == keys
    assert 0 < max(costs) <= 1.5 * min(costs), costs
