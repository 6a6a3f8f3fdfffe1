"""What the ZooKeeper store does when servers, sessions and connections fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from flask_clustertoken.errors import (
    NotAnnounced,
    StoreDamaged,
    StoreUnavailable,
)
from flask_clustertoken.stores.base import (
    Put,
    Record,
)
from flask_clustertoken.stores.zookeeper import connection
from tests.pace import moments
from tests.servers.zookeeper import Ensemble
from tests.waiting import wait_until

from .handles import Open, new, works

pytestmark = pytest.mark.zookeeper


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
            assert time.monotonic() - start < 2 * 3 + moments(50)
        ensemble.start()


def test_with_all_servers_frozen_every_call_ends_in_time(opened: Open, ensemble: Ensemble) -> None:
    """Each call ends as trouble within its deadline; after the thaw the same handle works."""
    store = opened()
    store.root()
    store.put("a/b", b"v", None)
    store.announce("n1", b"")
    store.timeout = 1.5
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
            assert time.monotonic() - start < 1.5 + moments(50)
            assert caught.value.__cause__ is not None
        start = time.monotonic()
        fresh = opened(timeout=1.5)
        with pytest.raises(StoreUnavailable):
            fresh.root()
        assert time.monotonic() - start < 1.5 + moments(50)
    finally:
        for server in ensemble.servers:
            server.thaw()
    store.timeout = fresh.timeout = 15
    wait_until(lambda: works(store))
    assert store.get("a/b") == Record(b"v", None)
    wait_until(lambda: works(fresh))


def test_during_an_outage_only_the_first_wait(opened: Open, ensemble: Ensemble) -> None:
    """Once a whole time-out has passed without a line, a call fails at once."""
    store = opened(timeout=1.0)
    wait_until(lambda: works(store))
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
        assert time.monotonic() - start < 1.0 + moments(50)
    finally:
        ensemble.start()
    store.timeout = 15
    wait_until(lambda: works(store))


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
    store = opened()
    store.root()
    line = store._open().line
    line.patience, store.timeout = 1.0, 0.5
    client = line._zk
    for server in ensemble.servers:
        server.freeze()
    try:
        wait_until(lambda: not works(store) and line._zk is not client)
    finally:
        for server in ensemble.servers:
            server.thaw()
    store.timeout = 15
    wait_until(lambda: works(store))


def test_what_was_acknowledged_outlives_all_servers(opened: Open, ensemble: Ensemble) -> None:
    """After all were killed and started again, records and feed are as they were."""
    store = opened(timeout=5)
    (seq,) = store.append([new("e")], [Put("a/b", b"v", None)])
    for server in ensemble.servers:
        server.kill()
    ensemble.start()
    wait_until(lambda: works(store))
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
    wait_until(lambda: works(store))
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
    wait_until(lambda: works(store))
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
    store = opened()
    store.root()
    store.timeout = 2
    for server in ensemble.servers:
        server.freeze()
    try:
        start = time.monotonic()
        store.close()
        assert time.monotonic() - start < 2 * 2 + moments(50)
    finally:
        for server in ensemble.servers:
            server.thaw()
