"""A node whose store is in trouble asks it more and more seldom, not in step with the others."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from flask_clustertoken import backoff
from flask_clustertoken.errors import NoThread, StoreUnavailable
from flask_clustertoken.revocations import Runner, runner
from flask_clustertoken.revocations.entry import LIFETIME_ANNOUNCED
from flask_clustertoken.stores.base import NewEntry
from tests.doubles import Cluster, WatchedStore, store_of
from tests.waiting import wait_until


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody draws the whole of what there is to draw."""
    monkeypatch.setattr(backoff, "chance", lambda: 1.0)


def test_a_step_after_a_failure_waits_longer_each_time(cluster: Cluster, whole: None) -> None:
    """Up to three seconds, or a third of the staleness; a success ends that.

    Requests do not press for it either.
    """
    follower = cluster.node().follower()
    store = store_of(cluster.members[0])
    store.cut()
    cluster.clock.advance(5)
    assert [follower.step() for _ in range(4)] == pytest.approx([0.5, 1, 2, 3])
    cluster.clock.advance(10)
    calls = sum(store.calls.values())
    for _ in range(30):
        cluster.clock.advance(0.1)
        follower.step_now()
    assert sum(store.calls.values()) - calls <= 2
    store.heal()
    follower.step()
    assert follower.fresh
    store.cut()
    cluster.clock.advance(5)
    assert follower.step() == 0.5


def test_in_trouble_nothing_that_happens_is_a_reason_to_try(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each revocation of others would be one try more; only the end of the pause is one."""
    follower = cluster.node().follower()
    now, waits = [0.0], []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        now[0] += min(seconds, 0.5)  # woken each half second
        return True

    wake = SimpleNamespace(wait=wait, clear=lambda: None, set=lambda: None)
    monkeypatch.setattr(follower, "wake", wake)
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: now[0]))
    thread = Runner(follower)
    assert thread._waited(3.0, True)
    assert now[0] == 3.0
    assert thread._waited(3.0, False)
    assert now[0] == 3.5, "where all is well it is woken"
    thread.stop()
    assert not thread._waited(3.0, True)


def test_first_sights_ask_no_more_of_a_store_that_does_not_answer(
    cluster: Cluster, whole: None
) -> None:
    """After a few that came to nothing the others are refused at once, and the cookies kept."""
    one, other = cluster.node(), cluster.node()
    texts = [one.issue_login(f"user-{number}").text for number in range(40)]
    cluster.step(one, other)
    store = store_of(other)
    store.failing["get_many"] = StoreUnavailable("no answer in time")
    before = store.calls["get_many"]
    assert {getattr(other.authenticate(text), "reason", "") for text in texts[:39]} == {"stale"}
    assert store.calls["get_many"] - before == 3
    store.heal()
    cluster.clock.advance(0.2)
    assert other.authenticate(texts[39])


def test_the_lifetime_is_announced_by_one_node_for_all(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others read it, also each time that it is announced anew."""
    announced: list[str] = []
    append = WatchedStore.append

    def counted(self: WatchedStore, entries: Sequence[NewEntry], *more: Any) -> list[int]:
        announced.extend(entry.id for entry in entries)
        return append(self, entries, *more)

    monkeypatch.setattr(WatchedStore, "append", counted)
    nodes = [cluster.node() for _ in range(5)]
    for node in nodes:
        node.follower()
    for _ in range(20):
        cluster.clock.advance(LIFETIME_ANNOUNCED / 20)
        cluster.step(*nodes)
    assert 0 < len(announced) <= 4
    assert all(node.follower().lifetime_announced() for node in nodes)


def test_nodes_that_began_together_do_not_vouch_together(cluster: Cluster) -> None:
    """Each draws when its next vouch is due, and is never later than a third of the staleness."""
    followers = [cluster.node().follower() for _ in range(20)]
    due = {one.next_contact - cluster.clock.monotonic() for one in followers}
    assert len(due) > 15
    assert 2 < min(due) < max(due) <= 10 / 3


def test_a_store_that_cannot_be_watched_is_followed_all_the_same(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system had no thread that waits for its word: the next step asks for one again."""
    node = cluster.node()
    store = store_of(node)

    def watch(moved: Any) -> None:
        raise NoThread("hearing of the feed's moves")

    monkeypatch.setattr(node.runtime, "_threaded", True)
    with monkeypatch.context() as patched:
        patched.setattr(store, "watch", watch)
        follower = node.follower()
        vouched = store.calls["vouch"]
        cluster.clock.advance(5)
        follower.wake.set()
        wait_until(lambda: store.calls["vouch"] > vouched)
        assert not cluster.shelf.watchers
    follower.wake.set()
    wait_until(lambda: cluster.shelf.watchers)


def test_threads_of_a_heart_end_when_told(cluster: Cluster) -> None:
    """Also in the middle of a long pause."""
    follower = cluster.node().follower()
    thread = Runner(follower)
    waiting = threading.Thread(target=thread._waited, args=(60.0, True))
    waiting.start()
    thread.stop()
    waiting.join(10)
    assert not waiting.is_alive()
