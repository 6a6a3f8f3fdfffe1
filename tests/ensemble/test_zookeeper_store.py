"""What the ZooKeeper store does when servers, sessions and connections fail, and what it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flask_clustertoken.errors import (
    Conflict,
    NotAnnounced,
    StoreDamaged,
    StoreNotOpen,
    StoreUnavailable,
    ValueTooLarge,
)
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import (
    VALUE_LIMIT,
    Add,
    ClusterStore,
    Delete,
    Entry,
    NewEntry,
    Put,
    Record,
    Require,
)
from flask_clustertoken.stores.zookeeper import ZooKeeperStore, connection
from flask_clustertoken.stores.zookeeper.feed import PAGE_BYTES, TAIL_ENTRIES
from tests.servers.zookeeper import Ensemble, Server
from tests.waiting import wait_until

pytestmark = pytest.mark.zookeeper

Open = Callable[..., ZooKeeperStore]


@pytest.fixture
def opened(ensemble: Ensemble, zk_root: str) -> Iterator[Open]:
    """A callable that opens a handle on this test's store, through one server or through all."""
    handles: list[ClusterStore] = []

    def make(
        server: Server | None = None, *, timeout: float = 15.0, **options: Any
    ) -> ZooKeeperStore:
        url = ensemble.url(zk_root) if server is None else f"zookeeper://{server.address}{zk_root}"
        store = open_store(url, timeout=timeout, options=options)
        assert isinstance(store, ZooKeeperStore)
        handles.append(store)
        return store

    yield make
    for handle in handles:
        handle.close()


@pytest.fixture
def raw(ensemble: Ensemble) -> Iterator[Callable[..., Any]]:
    """A callable that gives a plain kazoo client, to look behind the store's back."""
    from kazoo.client import KazooClient

    clients: list[Any] = []

    def make(**settings: Any) -> Any:
        client = KazooClient(hosts=ensemble.addresses, **settings)
        clients.append(client)
        client.start(30)
        return client

    yield make
    for client in clients:
        client.stop()
        client.close()


def everything_below(client: Any, path: str) -> list[str]:
    """*path* and every path below it."""
    found = [path]
    for name in client.get_children(path):
        found += everything_below(client, f"{path}/{name}")
    return found


def entries_of(store: ClusterStore) -> list[Entry]:
    """The whole feed, page by page."""
    found: list[Entry] = []
    position, more = 0, True
    while more:
        batch = store.read(position)
        found += batch.entries
        position, more = batch.seq, batch.more
    return found


def new(name: str, body: bytes = b"x", keep_until: float | None = None) -> NewEntry:
    return NewEntry(name, body, keep_until)


def chained(entries: list[Entry]) -> bool:
    """Each entry names the one before it."""
    return all(two.prev == one.seq for one, two in pairwise(entries))


# -- who may look ----------------------------------------------------------------------


def test_everything_that_is_made_belongs_to_who_signed_on(
    opened: Open, raw: Callable[..., Any], zk_root: str
) -> None:
    """With a user, every znode from the realm down has that user's access list alone."""
    store = opened(auth="digest:app:s3cret")
    store.add("token/3fa/abc", b"v", None)
    store.append([new(f"e{n}", b"x" * 500) for n in range(TAIL_ENTRIES)])
    store.announce("n1", b"")
    client = raw(auth_data=[("digest", "app:s3cret")])
    paths = everything_below(client, zk_root)
    assert any("/records/token/3fa/" in path for path in paths)
    assert any("/feed/pages/" in path for path in paths)
    for path in paths:
        (acl,) = client.get_acls(path)[0]
        assert (acl.id.scheme, acl.id.id.split(":")[0]) == ("digest", "app"), path


def test_who_did_not_sign_on_is_refused(opened: Open) -> None:
    """It is trouble with the server's refusal as its cause, never absence."""
    opened(auth="digest:app:s3cret").add("a/b", b"v", None)
    for stranger in (opened(), opened(auth="digest:app:guess")):
        with pytest.raises(StoreUnavailable) as caught:
            stranger.get("a/b")
        assert type(caught.value.__cause__).__name__ == "NoAuthError"
        with pytest.raises(StoreUnavailable):
            stranger.add("a/c", b"", None)


def test_an_open_store_is_said_once(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Without a user, the log says once a handle that anybody may change what is there."""
    store = opened()
    for _ in range(3):
        store.root()
    assert len([one for one in caplog.records if "may read and change" in one.message]) == 1


def test_nothing_secret_is_logged(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the password nor a value, also where every logger is told to say all."""
    caplog.set_level(1)
    store = opened(auth="digest:app:s3cret")
    store.put("a/b", b"private-value", None)
    assert store.get("a/b") == Record(b"private-value", None)
    assert "s3cret" not in caplog.text
    assert "private-value" not in caplog.text


def test_the_root_is_not_ours_alone(opened: Open, raw: Callable[..., Any], zk_root: str) -> None:
    """What else stands under the root is left alone, and two realms do not meet."""
    raw().create(f"{zk_root}/other/thing", b"theirs", makepath=True)
    store = opened()
    store.put("a/b", b"", None)
    assert sorted(raw().get_children(zk_root)) == ["default", "other"]
    assert store.scan("") == [("a/b", Record(b"", None))]


# -- records ---------------------------------------------------------------------------


def asked_of_a_laggard(
    follower: Server, writer: ClusterStore, change: Callable[[], object], call: Callable[[], object]
) -> object:
    """What *call*, through *follower*, answers while that still has to learn of *change*.

    The question lies before the follower when it wakes, with much to catch up with beside it.
    """
    answers: list[object] = []

    def asking() -> None:
        try:
            answers.append(call())
        except Exception as error:
            answers.append(error)

    follower.freeze()
    try:
        load = time.monotonic_ns()
        writer.append([new(f"load-{load}-{n}", b"x" * 2_000) for n in range(400)])
        change()
        before = follower.unread()
        thread = threading.Thread(target=asking)
        thread.start()
        wait_until(lambda: follower.unread() > before)
    finally:
        follower.thaw()
    thread.join(30)
    (answer,) = answers
    return answer


@pytest.fixture
def lagging(ensemble: Ensemble, opened: Open) -> tuple[Server, ZooKeeperStore, ZooKeeperStore]:
    """A follower, a handle that goes through another server, and one that goes through it."""
    follower = next(one for one in ensemble.servers if one.mode == "follower")
    other = next(one for one in ensemble.servers if one is not follower)
    writer, asker = opened(other), opened(follower)
    writer.root()
    asker.root()
    return follower, writer, asker


def test_absence_is_definite_also_on_a_server_that_lags(
    lagging: tuple[Server, ZooKeeperStore, ZooKeeperStore],
) -> None:
    """What was acknowledged through one server is found at once through one that was frozen."""
    follower, writer, asker = lagging
    for number in range(5):
        key = f"token/0/{number}"
        found = asked_of_a_laggard(
            follower,
            writer,
            lambda key=key: writer.add(key, b"v", None),
            lambda key=key: asker.get(key),
        )
        assert found == Record(b"v", None)


def test_a_large_page_is_walked_in_order(opened: Open) -> None:
    """A walk in small pages meets each record of many shards once, and ends."""
    store = opened()
    keys = [f"token/{n % 7}/{n}" for n in range(60)] + ["token/x", "single", "a/b/c/d"]
    for key in keys:
        store.add(key, b"", None)
    for prefix in ("", "token/", "token/3/", "a/b/c/", "none/"):
        met: list[str] = []
        while page := store.scan(prefix, met[-1] if met else "", limit=4):
            met += [key for key, _ in page]
        assert sorted(met) == sorted(key for key in keys if key.startswith(prefix))


def test_a_purge_gets_everywhere(opened: Open) -> None:
    """Small purges, one after the other, sweep every shard and nothing that lives."""
    store, now = opened(), time.time()
    for number in range(40):
        store.put(f"token/{number % 9}/{number}", b"", now - 10 if number % 2 else None)
    swept, done = 0, False
    while not done:
        deleted, done = store.purge(now, limit=3)
        swept += deleted
    assert swept == 20
    assert len(store.scan("")) == 20


def test_a_transaction_deletes_also_what_came_in_between(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing was seen to delete, the transaction itself makes sure that nothing is there."""
    one, two = opened(), opened()
    one.root()
    records = one._open().records
    plan = records.plan
    between = [lambda: two.put("a/b", b"", None)]

    def planned(*args: Any) -> Any:
        ops = plan(*args)
        if between:
            between.pop()()
        return ops

    monkeypatch.setattr(records, "plan", planned)
    one.append([new("e")], [Delete("a/b")])
    assert not between
    two.head()  # (behind a write of its own: its server may lag)
    assert two.get("a/b") is None


def test_a_value_that_no_request_can_carry_is_refused(opened: Open) -> None:
    """Above the limit it is an error by its name, and the connection survives."""
    store = opened()
    with pytest.raises(ValueTooLarge):
        store.put("a/b", b"x" * (VALUE_LIMIT + 1), None)
    with pytest.raises(ValueTooLarge):
        store.append([new(f"e{n}", b"x" * VALUE_LIMIT) for n in range(5)])
    store.put("a/b", b"x" * VALUE_LIMIT, None)
    store.append([new("large", b"x" * VALUE_LIMIT), new("small")])
    assert [len(one.body) for one in entries_of(store)] == [VALUE_LIMIT, 1]
    assert store.head() == store.read(0).seq


# -- feed ------------------------------------------------------------------------------


def test_old_entries_move_into_pages_and_are_read_like_new_ones(opened: Open) -> None:
    """From any position a reader gets what comes after it, wherever that stands by now."""
    store, other = opened(), opened()
    seqs = []
    for number in range(3 * TAIL_ENTRIES):
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


# -- vouching and watching -------------------------------------------------------------


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
        wait_until(lambda: _works(other))
        # The watching handle itself is asked nothing, and goes on being called.
        wait_until(lambda: client.connected and time.monotonic() - calls[-1] > 0.5)
        for number in range(3):
            count = len(calls)
            other.append([new(f"after-{server.number}-{number}")])
            wait_until(lambda count=count: len(calls) > count)
    assert len(calls) > 10


def _works(store: ClusterStore) -> bool:
    try:
        store.head()
    except StoreUnavailable:
        return False
    return True


# -- trouble ---------------------------------------------------------------------------


def test_a_killed_server_costs_at_most_a_pause(opened: Open, ensemble: Ensemble) -> None:
    """Whichever server dies, calls go on through the others, in time or with the right error."""
    store = opened(timeout=3)
    store.put("a/b", b"v", None)
    for server in list(ensemble.servers):
        server.kill()
        end = time.monotonic() + 60
        good = 0
        while good < 5:
            assert time.monotonic() < end
            start = time.monotonic()
            try:
                assert store.get("a/b") == Record(b"v", None)
                store.put("a/c", b"", None)
                good += 1
            except StoreUnavailable:
                pass
            assert time.monotonic() - start < 2 * (3 + 1)
        ensemble.start()


def test_with_all_servers_frozen_every_call_ends_in_time(opened: Open, ensemble: Ensemble) -> None:
    """Each call ends as trouble within its deadline; after the thaw the same handle works."""
    store = opened(timeout=1.5)
    store.root()
    store.put("a/b", b"v", None)
    store.announce("n1", b"")
    calls: list[Callable[[], object]] = [
        lambda: store.get("a/b"),
        lambda: store.get("a/none"),
        lambda: store.add("a/c", b"", None),
        lambda: store.put("a/b", b"v", None),
        lambda: store.touch("a/b", None),
        lambda: store.delete("a/none"),
        lambda: store.scan(""),
        lambda: store.append([new("e")]),
        lambda: store.read(0),
        store.head,
        lambda: store.vouch("n1", b""),
        store.nodes,
        store.root,
        lambda: store.watch(lambda: None),
        lambda: store.ended(0),
        lambda: store.trim([1]),
    ]
    for server in ensemble.servers:
        server.freeze()
    try:
        for call in calls:
            start = time.monotonic()
            with pytest.raises(StoreUnavailable) as caught:
                call()
            assert time.monotonic() - start < 2.5
            assert caught.value.__cause__ is not None
        start = time.monotonic()
        fresh = opened(timeout=1.5)
        with pytest.raises(StoreUnavailable):
            fresh.root()
        assert time.monotonic() - start < 2.5
    finally:
        for server in ensemble.servers:
            server.thaw()
    wait_until(lambda: _works(store))
    assert store.get("a/b") == Record(b"v", None)
    wait_until(lambda: _works(fresh))


def test_during_an_outage_only_the_first_wait(opened: Open, ensemble: Ensemble) -> None:
    """Once a whole time-out has passed without a line, a call fails at once."""
    store = opened(timeout=1.0)
    store.root()
    for server in ensemble.servers:
        server.kill()
    try:
        with pytest.raises(StoreUnavailable):
            store.get("a/b")
        wait_until(lambda: not store._open().line._zk.connected)
        with pytest.raises(StoreUnavailable):
            store.get("a/b")
        start = time.monotonic()
        for _ in range(10):
            with pytest.raises(StoreUnavailable):
                store.get("a/b")
        assert time.monotonic() - start < 1.0
    finally:
        ensemble.start()
    wait_until(lambda: _works(store))


def test_an_old_failure_does_not_count_against_a_line_that_was_mended(
    opened: Open, ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage and a long silence the first call succeeds, through the same client."""
    store = opened()
    store.root()
    line = store._open().line
    line.patience, store.timeout = 1.0, 0.3
    client = line._zk
    for server in ensemble.servers:
        server.kill()
    try:
        with pytest.raises(StoreUnavailable):
            store.get("a/b")
    finally:
        ensemble.start()
    wait_until(lambda: client.connected)
    later = SimpleNamespace(
        monotonic=lambda: time.monotonic() + 2 * line.patience, sleep=time.sleep
    )
    monkeypatch.setattr(connection, "time", later)
    store.timeout = 15
    assert store.get("a/b") is None
    assert line._zk is client


def test_a_client_that_only_fails_is_replaced(opened: Open, ensemble: Ensemble) -> None:
    """When calls have come to nothing for long enough, a new client is made."""
    store = opened(timeout=0.5)
    store.root()
    line = store._open().line
    line.patience = 1.0
    client = line._zk
    for server in ensemble.servers:
        server.freeze()
    try:
        wait_until(lambda: not _works(store) and line._zk is not client)
    finally:
        for server in ensemble.servers:
            server.thaw()
    wait_until(lambda: _works(store))


def test_what_was_acknowledged_outlives_all_servers(opened: Open, ensemble: Ensemble) -> None:
    """After all were killed and started again, records and feed are as they were."""
    store = opened(timeout=5)
    (seq,) = store.append([new("e")], [Put("a/b", b"v", None)])
    for server in ensemble.servers:
        server.kill()
    ensemble.start()
    wait_until(lambda: _works(store))
    assert store.head() == seq
    assert store.get("a/b") == Record(b"v", None)


def test_an_expired_session_is_replaced(opened: Open, raw: Callable[..., Any]) -> None:
    """The servers end the session; the handle goes on with another, its watch included."""
    store, other = opened(), opened()
    calls: list[int] = []
    store.watch(lambda: calls.append(1))
    store.announce("n1", b"")
    session = store._open().line._zk.client_id
    thief = raw(client_id=session)
    thief.stop()
    wait_until(lambda: _works(store))
    wait_until(lambda: store._open().line._zk.client_id not in (None, session))
    assert store.vouch("n1", b"").seq == 0
    count = len(calls)
    other.append([new("e")])
    wait_until(lambda: len(calls) > count)


def test_a_client_whose_thread_ended_is_replaced(opened: Open) -> None:
    """A connection that ended for good is made anew by the next calls; the watch comes along."""
    store, other = opened(session_timeout=2), opened()
    calls: list[int] = []
    store.watch(lambda: calls.append(1))
    dead = store._open().line._zk
    dead.stop()
    wait_until(lambda: _works(store))
    assert store._open().line._zk is not dead
    count = len(calls)
    other.append([new("e")])
    wait_until(lambda: len(calls) > count)


def test_a_deleted_store_is_damage_not_absence(
    opened: Open, raw: Callable[..., Any], zk_root: str
) -> None:
    """Somebody removes what is ours: no call answers "nothing is revoked"."""
    store = opened()
    store.append([new("e")])
    store.announce("n1", b"")
    raw().delete(f"{zk_root}/default/feed/head")
    for call in (store.head, lambda: store.read(0), lambda: store.vouch("n1", b"")):
        with pytest.raises(StoreDamaged):
            call()
    with pytest.raises(StoreDamaged):
        store.append([new("f")])


def test_a_store_that_was_deleted_and_made_again_is_another_one(
    opened: Open, raw: Callable[..., Any], zk_root: str
) -> None:
    """Who began with the old one does not go on with the new one, which knows no revocation."""
    store, later = opened(), opened()
    epoch = store.root().epoch
    store.append([new("e")])
    store.announce("n1", b"")
    raw().delete(f"{zk_root}/default", recursive=True)
    with pytest.raises(StoreDamaged):
        store.root()
    assert later.root().epoch != epoch
    with pytest.raises(NotAnnounced):
        store.vouch("n1", b"")
    for call in (store.root, lambda: store.announce("n1", b"")):
        with pytest.raises(StoreDamaged):
            call()


def test_what_is_not_ours_is_not_believed(
    opened: Open, raw: Callable[..., Any], zk_root: str
) -> None:
    """Bytes in another form are damage."""
    store = opened()
    store.put("a/b", b"", None)
    client = raw()
    for path in ("records/a/=/b", "feed/head", "root"):
        client.set(f"{zk_root}/default/{path}", b"\xffnot ours")
    for call in (lambda: store.get("a/b"), lambda: store.read(0), lambda: store.root()):
        with pytest.raises(StoreDamaged):
            call()


def test_closing_takes_no_longer_than_a_moment(opened: Open, ensemble: Ensemble) -> None:
    """Also while no server answers."""
    store = opened(timeout=2)
    store.root()
    for server in ensemble.servers:
        server.freeze()
    try:
        start = time.monotonic()
        store.close()
        assert time.monotonic() - start < 4
    finally:
        for server in ensemble.servers:
            server.thaw()


# -- processes -------------------------------------------------------------------------

_GEVENT = """
from gevent import monkey
if {patched}:
    monkey.patch_all()
import gevent, os, sys, threading, time
from flask_clustertoken.stores import _zk_client, open_store
from flask_clustertoken.stores.base import NewEntry
from flask_clustertoken.errors import StoreUnavailable

store, other = open_store({url!r}, timeout=10), open_store({url!r}, timeout=10)
calls = []
store.watch(lambda: calls.append(1))
def work(n):
    for i in range(5):
        store.add(f"g/{{n}}/{{i}}", b"", None)
        other.append([NewEntry(f"g{{n}}-{{i}}", b"", None)])
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[one.start() for one in threads]
[one.join(30) for one in threads]
assert len(store.scan("g/")) == 40 and len(store.read(0).entries) == 40 and calls
handler = type(store._open().line._zk.handler).__name__
assert handler == {handler!r}, handler
ticks = []
if {patched}:
    gevent.spawn(lambda: [ticks.append(gevent.sleep(0.01)) for _ in range(500)])
lost = open_store({nowhere!r}, timeout=1)
start = time.monotonic()
try:
    lost.head()
except StoreUnavailable as error:
    assert error.__cause__ is not None
    assert 0.5 < time.monotonic() - start < 2
else:
    sys.exit("no error")
if {patched}:
    assert len(ticks) > 20, len(ticks)
child = os.fork()
if child == 0:
    os._exit(0 if len(store.read(0).entries) == 40 else 1)
assert os.waitpid(child, 0)[1] == 0
for one in (store, other, lost):
    one.close()
print("fine")
"""


@pytest.mark.parametrize("patched", [True, False], ids=["gevent", "threads"])
def test_the_store_under_patched_and_plain_threads(
    patched: bool, ensemble: Ensemble, zk_root: str
) -> None:
    """Many greenlets or threads share a handle; deadlines hold, nobody blocks the others."""
    pytest.importorskip("gevent")
    script = _GEVENT.format(
        patched=patched,
        url=ensemble.url(zk_root),
        nowhere="zookeeper://127.0.0.1:1/app",
        handler="SequentialGeventHandler" if patched else "SequentialThreadingHandler",
    )
    top = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(top)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.stdout.strip().endswith("fine"), done.stderr


def test_a_child_of_a_busy_parent_uses_its_own_connection(opened: Open) -> None:
    """Forked while other threads call, it opens anew, and neither disturbs the other."""
    store = opened(timeout=10)
    store.put("a/b", b"v", None)
    stop = threading.Event()
    answers: list[object] = []

    def reading() -> None:
        while not stop.is_set():
            answers.append(store.get("a/b"))

    threads = [threading.Thread(target=reading) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    code = 0 if store.get("a/b") and store.add(f"c/{os.getpid()}", b"", None) else 2
                finally:
                    os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert all(answer == Record(b"v", None) for answer in answers)
    assert len(store.scan("c/")) == 5


def test_an_entry_that_was_withdrawn_does_not_come_back(opened: Open) -> None:
    """A vouch on a withdrawn entry says so, whichever server it goes through."""
    store, other = opened(), opened()
    store.announce("n1", b"")
    other.withdraw("n1")
    with pytest.raises(NotAnnounced):
        store.vouch("n1", b"")
