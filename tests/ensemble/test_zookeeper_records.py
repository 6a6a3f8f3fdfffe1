"""Records in ZooKeeper, also through a server that lags behind the others."""

from __future__ import annotations

import time
from typing import Any

import pytest

from flask_clustertoken.errors import (
    ValueTooLarge,
)
from flask_clustertoken.stores.base import (
    VALUE_LIMIT,
    Delete,
    Record,
)
from flask_clustertoken.stores.zookeeper import ZooKeeperStore
from tests.servers.zookeeper import Server

from .handles import Open, asked_of_a_laggard, entries_of, new

pytestmark = pytest.mark.zookeeper


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
