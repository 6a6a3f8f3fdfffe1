"""The feed in ZooKeeper: pages, lost answers, vouching and being woken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flask_clustertoken.errors import (
    Conflict,
    StoreNotOpen,
    StoreUnavailable,
)
from flask_clustertoken.stores.base import (
    Add,
    Delete,
    Entry,
    Put,
    Record,
    Require,
)
from flask_clustertoken.stores.zookeeper import ZooKeeperStore
from flask_clustertoken.stores.zookeeper.feed import PAGE_BYTES, TAIL_ENTRIES
from tests.servers.zookeeper import Ensemble, Server
from tests.waiting import wait_until

from .handles import Open, asked_of_a_laggard, chained, entries_of, new, works

pytestmark = pytest.mark.zookeeper


def test_old_entries_move_into_pages_and_are_read_like_new_ones(opened: Open) -> None:
    """From any position a reader gets what comes after it, wherever that stands by now."""
    store, other = opened(), opened()
    seqs = []
    for number in range(8 * TAIL_ENTRIES):
        (seq,) = (store, other)[number % 2].append([new(f"e{number}", b"y" * 700)])
        seqs.append(seq)
    entries = entries_of(other)
    assert [one.seq for one in entries] == seqs
    assert chained(entries)
    for at in range(0, len(seqs), 17):
        assert [one.seq for one in store.read(seqs[at]).entries] == seqs[at + 1 :]
        assert [one.seq for one in store.read(seqs[at], limit=5).entries] == seqs[at + 1 : at + 6]
    assert len(entries) * 700 > 2 * PAGE_BYTES


def test_a_page_that_grows_while_it_is_read_brings_no_more_than_the_head_said(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries that moved from the head into a page in between are read once, and in order."""
    reader, writer = opened(), opened()
    seqs = writer.append([new(f"a{n}") for n in range(TAIL_ENTRIES + 8)])
    feed = reader._open().feed
    numbers = feed.numbers

    def later(*args: Any) -> list[int]:
        writer.append([new(f"b{n}") for n in range(TAIL_ENTRIES + 8)])
        return numbers(*args)

    monkeypatch.setattr(feed, "numbers", later)
    batch = reader.read(0)
    assert [one.seq for one in batch.entries] == seqs
    assert (batch.seq, batch.more) == (seqs[-1], False)


def test_a_ticket_whose_owner_hangs_holds_nobody_up_for_long(
    opened: Open, raw: Callable[..., Any]
) -> None:
    """Who waits in the line for the head takes it away, and appends."""
    store = opened()
    store.root()
    queue, client = store._open().site.queue, raw()
    client.create(f"{queue}/hangs-", ephemeral=True, sequence=True)
    (seq,) = store.append([new("e")])
    assert store.head() == seq
    wait_until(lambda: client.get_children(queue) == [])


def test_many_writers_all_come_through(opened: Open) -> None:
    """Processes that append without a pause, through whichever servers, starve nobody."""
    handles = [opened(timeout=10) for _ in range(5)]
    handles[0].root()
    given: list[int] = []

    def appending(number: int) -> None:
        for count in range(20):
            given.extend(handles[number].append([new(f"w{number}-{count}")]))

    threads = [threading.Thread(target=appending, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(given) == 100
    entries = entries_of(handles[0])
    assert [one.seq for one in entries] == sorted(given)
    assert chained(entries)


def test_trimming_reaches_pages_and_head(opened: Open, raw: Callable[..., Any]) -> None:
    """What ended is found and trimmed wherever it stands; small pages are put together."""
    store = opened()
    for number in range(6):
        store.append(
            [
                new(f"e{number}-{n}", b"z" * 900, 100.0 if n % 10 else 5_000.0 + number)
                for n in range(100)
            ]
        )
    assert sorted(one.id for one in store.ended(50.0)) == []
    swept = 0
    while ended := store.ended(200.0, limit=77):
        assert len(ended) <= 77
        store.trim([one.seq for one in ended])
        swept += len(ended)
    assert swept == 540
    left = entries_of(store)
    assert len(left) == 60
    assert {one.keep_until for one in left} == {5_000.0 + n for n in range(6)}
    site = store._open().site
    assert len(raw().get_children(site.pages)) <= 4
    assert [one.id for one in store.ended(5_001.0)] == [f"e0-{n}" for n in range(0, 100, 10)]
    (seq,) = store.append([new("after")])
    assert entries_of(store)[-1].seq == store.head() == seq
    # Its id went with it, so the same name is new again.
    assert store.append([new("e0-1")])[0] > seq


def test_a_load_in_any_order_gives_the_same_feed(opened: Open) -> None:
    """Copies that come in pieces, twice and out of order, end as one feed."""
    store = opened()
    root = store.root()
    assert store.change_root(root, replace(root, state="preparing"))
    whole = [Entry(n * 10, (n - 1) * 10, f"e{n}", b"b" * 1_000, None) for n in range(1, 401)]
    store.load([], whole[150:250])
    store.load([], whole[:50], head=9_000)
    store.load([], reversed(whole))
    store.load([], whole[100:200], floor=3)
    assert entries_of(store) == whole
    assert (store.head(), store.read(0).floor) == (9_000, 3)


def test_an_append_whose_answer_was_lost_is_made_once(opened: Open, ensemble: Ensemble) -> None:
    """While servers are killed under it, each append succeeds in time, and stands there once."""
    store = opened(timeout=30)
    store.root()
    given: dict[str, int] = {}
    refused: list[str] = []
    stop = threading.Event()

    def appending() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            name = f"e{number}"
            try:
                (given[name],) = store.append(
                    [new(name)], [Add(f"made/{name}", b"", None), Require("made/base")]
                )
            except StoreUnavailable:
                refused.append(name)

    store.put("made/base", b"", None)
    thread = threading.Thread(target=appending)
    thread.start()
    try:
        for server in (ensemble.leader(), ensemble.servers[0]):
            count = len(given)
            wait_until(lambda count=count: len(given) > count + 20)
            server.kill()
            count = len(given)
            wait_until(lambda count=count: len(given) > count + 20, 60)
            ensemble.start()
    finally:
        stop.set()
        thread.join(60)
    entries = entries_of(store)
    assert chained(entries)
    found = {one.id: one.seq for one in entries}
    assert len(found) == len(entries)
    assert found == given
    assert refused == []


def test_a_conflict_is_not_made_up_by_a_lagging_server(
    lagging: tuple[Server, ZooKeeperStore, ZooKeeperStore],
) -> None:
    """Conditions are judged by what holds on the whole ensemble."""
    follower, writer, asker = lagging
    for number in range(3):
        key = f"a/{number}"
        answer = asked_of_a_laggard(
            follower,
            writer,
            lambda key=key: writer.put(key, b"", None),
            lambda key=key, number=number: asker.append([new(f"e{number}")], [Require(key)]),
        )
        assert answer == [entries_of(writer)[-1].seq]
        answer = asked_of_a_laggard(
            follower,
            writer,
            lambda key=key: writer.delete(key),
            lambda key=key: asker.append([], [Require(key)]),
        )
        assert isinstance(answer, Conflict)
        assert asked_of_a_laggard(
            follower,
            writer,
            lambda key=key: writer.put(key, b"", None),
            lambda key=key: asker.touch(key, None),
        )


def test_who_has_not_noticed_the_seal_is_refused_all_the_same(opened: Open) -> None:
    """Every change carries the root's version, so none slips in behind the seal."""
    store, other = opened(), opened()
    other.append([new("before")], [Put("a/b", b"old", 2e9)])
    root = store.root()
    assert store.change_root(root, replace(root, state="sealed", moved_to="elsewhere:"))
    calls: list[Callable[[ZooKeeperStore], object]] = [
        lambda one: one.append([new("e")]),
        lambda one: one.append([], [Delete("a/b")]),
        lambda one: one.add("a/c", b"", None),
        lambda one: one.put("a/b", b"new", None),
        lambda one: one.touch("a/b", 3e9),
    ]
    for call in calls:
        # As if the news of the seal were still on its way.
        other._open()._root = (root, 0)
        with pytest.raises(StoreNotOpen, match="elsewhere:"):
            call(other)
    assert store.scan("") == [("a/b", Record(b"old", 2e9))]
    assert [one.id for one in entries_of(store)] == ["before"]


def test_a_vouch_through_a_lagging_server_knows_the_head(opened: Open, ensemble: Ensemble) -> None:
    """A proof of freshness never rests on a plain read."""
    follower = next(one for one in ensemble.servers if one.mode == "follower")
    other = next(one for one in ensemble.servers if one is not follower)
    writer, node = opened(other), opened(follower)
    node.announce("n1", b"")
    for number in range(20):
        follower.freeze()
        (seq,) = writer.append([new(f"e{number}")])
        follower.thaw()
        assert node.vouch("n1", b"").seq == seq
    assert node.head() == seq


def test_the_servers_time_comes_with_a_vouch(opened: Open) -> None:
    """So that a node notices that its own clock is wrong."""
    store = opened()
    store.announce("n1", b"")
    assert abs(store.vouch("n1", b"").time - time.time()) < 5


def test_a_watcher_is_called_after_reconnecting(opened: Open, ensemble: Ensemble) -> None:
    """It is called when the line is cut, and for what comes after it was mended."""
    store, other = opened(timeout=20), opened(timeout=20)
    calls = [0.0]
    store.watch(lambda: calls.append(time.monotonic()))
    client = store._open().line._zk
    for server in list(ensemble.servers):
        server.kill()
        ensemble.start()
        wait_until(lambda: works(other))
        # The watching handle itself is asked nothing, and goes on being called.
        wait_until(lambda: client.connected and time.monotonic() - calls[-1] > 0.5)
        for number in range(3):
            count = len(calls)
            other.append([new(f"after-{server.number}-{number}")])
            wait_until(lambda count=count: len(calls) > count)
    assert len(calls) > 10
