"""Observing a store: each call once, with its time and how it ended; nothing else changes."""

from __future__ import annotations

import pytest

from flask_clustertoken.errors import Conflict, StoreUnavailable
from flask_clustertoken.stores import Outcome, observe
from flask_clustertoken.stores.base import Add, ClusterStore
from flask_clustertoken.stores.memory import MemoryStore


class BulkyStore(MemoryStore):
    """One that gives out a second handle, and whose head cannot be asked for."""

    def another(self) -> ClusterStore:
        return MemoryStore()

    def head(self) -> int:
        raise StoreUnavailable("the line was cut")


class Heard:
    """What an observer was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Outcome]] = []
        self.seconds = 0.0

    def __call__(self, call: str, seconds: float, outcome: Outcome) -> None:
        self.calls.append((call, outcome))
        self.seconds += seconds


@pytest.fixture
def heard() -> Heard:
    return Heard()


def test_each_call_is_told_once_with_how_it_ended(heard: Heard) -> None:
    """An answer, a condition that does not hold, trouble; and what is raised is raised on."""
    store = BulkyStore()
    observe(store, heard)
    assert store.add("key", b"value", None)
    assert store.get("key") is not None
    with pytest.raises(Conflict):
        store.append([], [Add("key", b"other", None)])
    with pytest.raises(StoreUnavailable):
        store.head()
    assert heard.calls == [
        ("add", "ok"),
        ("get", "ok"),  # and not the get_many that it makes of itself
        ("append", "conflict"),
        ("head", "error"),
    ]
    assert heard.seconds > 0


def test_a_walk_is_told_page_by_page(heard: Heard) -> None:
    """What is asked for in pieces is told in pieces."""
    store = MemoryStore()
    for number in range(3):
        store.add(f"token/{number}", b"", None)
    observe(store, heard)
    assert len(list(store.walk("token/"))) == 3
    assert heard.calls == [("scan", "ok"), ("scan", "ok")]


def test_the_position_that_each_request_asks_for_is_not_told_and_costs_nothing_more(
    heard: Heard,
) -> None:
    """It asks no server, and the hot path goes by it."""
    store = MemoryStore()
    observe(store, heard)
    assert "position" not in vars(store)
    store.position()
    assert heard.calls == []


def test_a_handle_for_what_is_large_is_observed_as_well(heard: Heard) -> None:
    """So that files are in the histogram, too; other handles of the process are not."""
    store = BulkyStore()
    observe(store, heard)
    store.another().get("key")
    BulkyStore().get("key")
    assert heard.calls == [("get", "ok")]
