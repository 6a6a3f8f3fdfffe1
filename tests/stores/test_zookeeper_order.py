"""The ZooKeeper store keeps its contract in whichever order requests of several meet."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.stores import _zk_feed, _zk_realm, open_store
from flask_clustertoken.stores.base import Entry, NewEntry
from flask_clustertoken.stores.zookeeper import ZooKeeperStore
from flask_clustertoken.testing.contract import (
    FeedContract,
    PresenceContract,
    RecordsContract,
    RootContract,
)

from .zk_tree import Tree, TreeLine

Open = Callable[[], ZooKeeperStore]

OVER, LATER = 100.0, 200.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def opened(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Open:
    """A callable that opens another handle on the same tree."""
    tree = Tree(time=clock.time)
    monkeypatch.setattr(_zk_realm, "Line", lambda *_: TreeLine(tree))

    def make() -> ZooKeeperStore:
        store = open_store("zookeeper://none:1/app", clock=clock)
        assert isinstance(store, ZooKeeperStore)
        return store

    return make


def line_of(store: ZooKeeperStore) -> TreeLine:
    line = store._open().line
    assert isinstance(line, TreeLine)
    return line


class TestZooKeeperStoreOnATree(RecordsContract, FeedContract, PresenceContract, RootContract):
    """The contract without servers: as far as it is a matter of order and not of processes."""

    @pytest.fixture
    def make_store(self, opened: Open) -> Open:
        return opened


def everything(store: ZooKeeperStore, limit: int) -> list[Entry]:
    """A snapshot in pages of *limit*."""
    found: list[Entry] = []
    position, more = 0, True
    while more:
        batch = store.read(position, limit)
        found += batch.entries
        position, more = batch.seq, batch.more
    return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of a few entries, a few pages at once, so that a short feed has many of each."""
    monkeypatch.setattr(_zk_feed, "PAGES_AT_ONCE", 2)
    monkeypatch.setattr(_zk_feed, "PAGE_BYTES", 400)
    monkeypatch.setattr("flask_clustertoken.stores._zk_sweep.PAGE_BYTES", 400)
    monkeypatch.setattr(_zk_feed.chunks_of, "__defaults__", (400,))
    monkeypatch.setattr(_zk_feed, "TAIL_ENTRIES", 4)


def fill(store: ZooKeeperStore) -> tuple[set[int], list[int]]:
    """A feed of which most is over; the numbers of what is not, and of what is, by page."""
    for number in range(40):
        store.append([NewEntry(f"e{number:02}", b"x" * 30, LATER if number % 5 == 0 else OVER)])
    entries = everything(store, 1000)
    live = {one.seq for one in entries if one.keep_until == LATER}
    return live, [one.seq for one in entries if one.keep_until == OVER]


@pytest.mark.parametrize("limit", [3, 7, 1000])
def test_no_snapshot_misses_what_a_sweep_moves(opened: Open, small: None, limit: int) -> None:
    """A sweep puts what it leaves of a page into the one before. Whenever that happens, between
    any two requests of a snapshot, the snapshot has every entry that lives all through it."""
    for moment in count(1):
        writer, reader = opened(), opened()
        live, over = fill(writer)
        assert len(writer._open().feed.numbers(writer._start()[1])) >= 6
        line = line_of(reader)
        reader.root()
        line.count = 0
        left = list(over)

        def sweep(
            line: TreeLine = line,
            moment: int = moment,
            left: list[int] = left,
            writer: ZooKeeperStore = writer,
        ) -> None:
            if line.count >= moment and left:
                # A little at each request from here on: pages fall together one by one.
                writer.trim([left.pop(0) for _ in range(min(3, len(left)))])

        line.between = sweep
        found = {one.seq for one in everything(reader, limit)}
        line.between = None
        assert live <= found, f"swept from request {moment} on"
        if len(left) == len(over):
            break  # the snapshot was over before
        writer.trim(over)
        assert live == {one.seq for one in everything(reader, limit)}
        writer.trim(sorted(live))
    assert moment > 8
