"""The ZooKeeper store keeps its contract in whichever order requests of several meet."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.shared import SharedData
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import Entry, NewEntry
from flask_clustertoken.stores.zookeeper import ZooKeeperStore, feed, realm
from flask_clustertoken.testing.contract import (
    FeedContract,
    PresenceContract,
    RecordsContract,
    RootContract,
)

from .zk_tree import Client, Tree, TreeLine

Open = Callable[[], ZooKeeperStore]

OVER, LATER = 100.0, 200.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def opened(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Open:
    """A callable that opens another handle on the same tree."""
    tree = Tree(time=clock.time)
    monkeypatch.setattr(realm, "Line", lambda *_: TreeLine(tree))

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
    monkeypatch.setattr(feed, "PAGES_AT_ONCE", 2)
    monkeypatch.setattr(feed, "PAGE_BYTES", 400)
    monkeypatch.setattr("flask_clustertoken.stores.zookeeper.sweeper.PAGE_BYTES", 400)
    monkeypatch.setattr(feed.chunks_of, "__defaults__", (400,))
    monkeypatch.setattr(feed, "TAIL_ENTRIES", 4)


def fill(store: ZooKeeperStore) -> tuple[set[int], list[int]]:
    """A feed of which most is over; the numbers of what is not, and of what is, by page."""
    for number in range(40):
        store.append([NewEntry(f"e{number:02}", b"x" * 30, LATER if number % 5 == 0 else OVER)])
    entries = everything(store, 1000)
    live = {one.seq for one in entries if one.keep_until == LATER}
    return live, [one.seq for one in entries if one.keep_until == OVER]


@pytest.mark.long
@pytest.mark.parametrize("limit", [3, 1000])
@pytest.mark.parametrize("step", [1, 5, 1000])
def test_no_snapshot_misses_what_a_sweep_moves(
    opened: Open, small: None, step: int, limit: int
) -> None:
    """A sweep puts what it leaves of a page into the one before. Wherever it begins, and however
    far it gets between two requests of a snapshot, nothing that lives is missing there."""
    for begin in count(1):
        writer, reader = opened(), opened()
        live, over = fill(writer)
        reader.root()
        line, left = line_of(reader), list(over)
        line.count = 0

        def sweep(
            line: TreeLine = line,
            begin: int = begin,
            left: list[int] = left,
            writer: ZooKeeperStore = writer,
        ) -> None:
            if line.count >= begin and left:
                writer.trim(left[:step])
                del left[:step]

        line.between = sweep
        found = {one.seq for one in everything(reader, limit)}
        assert live <= found, f"swept from request {begin} on"
        if left == over:
            break  # the snapshot had ended
        line.between = None
        writer.trim([*left, *live])
    assert begin > 8


def test_a_long_snapshot_lists_the_pages_once(
    opened: Open, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And again where a page came or went since."""
    writer, reader = opened(), opened()
    live, over = fill(writer)
    listed: list[str] = []
    children = Client.get_children_async

    def counted(self: Client, path: str, **options: bool) -> object:
        listed.append(path)
        return children(self, path, **options)

    monkeypatch.setattr(Client, "get_children_async", counted)
    assert len(everything(reader, 3)) == 40
    assert len(listed) == 1
    writer.trim(over)
    listed.clear()
    assert {one.seq for one in everything(reader, 3)} == live
    assert len(listed) == 1


def test_no_removal_hits_an_entry_that_was_made_again_meanwhile(opened: Open) -> None:
    """Whenever others remove it and its owner comes back, between any two requests."""
    owner, others, slow = opened(), opened(), opened()
    for moment in count(1):
        owner.announce("n1", b"")
        owner.vouch("n1", b"")
        (seen,) = slow.nodes()
        line, back = line_of(slow), []
        line.count = 0

        def come_back(line: TreeLine = line, moment: int = moment, back: list[int] = back) -> None:
            if line.count == moment:
                others.withdraw("n1")
                owner.announce("n1", b"")
                owner.vouch("n1", b"")
                back.append(moment)

        line.between = come_back
        removed = slow.withdraw("n1", seen)
        line.between = None
        assert removed is not bool(back)
        assert bool(owner.nodes()) is bool(back)
        if not back:
            break
        owner.withdraw("n1")
    assert moment > 2


def test_a_walk_through_shared_data_comes_past_one_name(
    opened: Open, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment's keys do not lie all in one place, whose names could come to a megabyte."""
    store = opened()
    carts, jobs = (SharedData(store, clock, "app", name) for name in ("carts", "jobs"))
    for number in range(50):
        carts.set(f"c{number}", 1)
        jobs.set(f"j{number}", 1)
    listed: list[int] = []
    children = Client.get_children_async

    def counted(self: Client, path: str, **options: bool) -> object:
        names = children(self, path, **options)
        listed.append(len(names))
        return names

    monkeypatch.setattr(Client, "get_children_async", counted)
    assert sorted(carts.keys()) == sorted(f"c{number}" for number in range(50))
    assert max(listed) == 50
