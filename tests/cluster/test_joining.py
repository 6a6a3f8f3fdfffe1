"""Joining: a process without a thread for it is no node, says so, and becomes one later."""

from __future__ import annotations

import threading

import pytest

from flask_clustertoken import backoff
from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.errors import NoThread
from tests.doubles import Cluster, reason, store_of
from tests.no_thread import no_thread
from tests.waiting import wait_until

FOLLOWER = "clustertoken-follower"


def followers() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name == FOLLOWER}


@pytest.fixture
def node(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> TokenAuthority:
    """A node that has not begun, and whose follower has a thread. It draws the longest pauses."""
    monkeypatch.setattr(backoff, "chance", lambda: 1.0)
    found = cluster.node()
    monkeypatch.setattr(found.runtime, "_threaded", True)
    return found


def test_a_node_without_a_thread_refuses_and_announces_nothing(
    cluster: Cluster, node: TokenAuthority
) -> None:
    """Nobody could vouch for it later on; in the list it would be one more with each request."""
    text = cluster.node().issue_login("alice").text
    with no_thread(FOLLOWER):
        for _ in range(5):
            assert reason(node.authenticate(text)) == "stale"
            cluster.clock.advance(10)
        with pytest.raises(NoThread):
            node.issue_login("bob")
        told = node.readiness()
    assert not told.fresh
    assert "pids.max" in told.trouble
    assert not store_of(node).calls
    assert len(cluster.shelf.presence) == 1


def test_it_joins_as_soon_as_there_is_a_thread(cluster: Cluster, node: TokenAuthority) -> None:
    """One entry in the list, and it is gone when the node leaves."""
    text = cluster.node().issue_login("alice").text
    with no_thread(FOLLOWER):
        assert not node.authenticate(text)
    cluster.clock.advance(0.5)
    assert node.authenticate(text)
    assert node.runtime.runner is not None
    assert len(cluster.shelf.presence) == 2
    node.close()
    assert len(cluster.shelf.presence) == 1


class TimedOut(BaseException):
    """What ends a greenlet, as ``gevent.Timeout``: no :class:`Exception`."""


@pytest.mark.parametrize("call", ["vouch", "read"])
def test_a_first_round_that_is_cut_short_leaves_nobody_in_the_list(
    cluster: Cluster, node: TokenAuthority, call: str
) -> None:
    """By a request's own time-out. The next request begins anew, as another node."""
    text, before = cluster.node().issue_login("alice").text, followers()
    for _ in range(3):
        store_of(node).failing[call] = TimedOut()
        with pytest.raises(TimedOut):
            node.authenticate(text)
        assert len(cluster.shelf.presence) == 1
        store_of(node).heal()
    assert node.authenticate(text)
    assert len(cluster.shelf.presence) == 2
    wait_until(lambda: len(followers() - before) == 1)


def test_requests_do_not_press_for_a_thread(cluster: Cluster, node: TokenAuthority) -> None:
    """Between two tries they are refused at once; the tries become fewer, up to a bound."""
    tries = []
    with no_thread(FOLLOWER) as refused:
        for _ in range(100):
            before = len(refused)
            with pytest.raises(NoThread):
                node.follower()
            if len(refused) > before:
                tries.append(round(cluster.clock.monotonic() - 1000, 1))
            cluster.clock.advance(0.1)
    assert tries == [0, 0.5, 1.5, 3.5, 6.5, 9.5]
