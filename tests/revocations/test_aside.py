"""A step that waits for the store: what others revoke meanwhile is read beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.revocations.aside import Aside
from flask_clustertoken.revocations.runner import Runner
from tests.doubles import Cluster, reason, store_of
from tests.waiting import wait_until


@pytest.fixture
def node(cluster: Cluster) -> TokenAuthority:
    found = cluster.node()
    found.follower().step()
    assert found.follower().fresh
    return found


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def reads(node: TokenAuthority) -> int:
    return store_of(node).calls["read"]


def test_what_is_revoked_while_a_proof_waits_is_refused_at_once(
    cluster: Cluster, node: TokenAuthority, let_go: threading.Event
) -> None:
    """However long the store takes for the node's own entry: what it has to tell can be read."""
    other, waiting = cluster.node(), threading.Event()
    other.follower().step()
    texts = [other.issue_login(name).text for name in ("alice", "bob", "carol")]
    assert all(node.authenticate(one) for one in texts)
    runner = Runner(node.follower())
    runner.start()
    try:
        wait_until(lambda: cluster.shelf.watchers)

        def held() -> None:
            waiting.set()
            let_go.wait(60)

        store_of(node).before["vouch"] = held
        cluster.clock.advance(4)
        node.follower().wake.set()
        assert waiting.wait(30)
        for name, text in zip(("alice", "bob"), texts, strict=False):
            other.revoke_subject(name)
            wait_until(lambda text=text: reason(node.authenticate(text)) == "revoked")
            # (The next word comes to another thread, or to one that is still there.)
        assert node.authenticate(texts[2])
        assert not let_go.is_set()
        let_go.set()
        wait_until(lambda: not runner._aside._running)
    finally:
        runner.stop()


class Patience(threading.Event):
    """It lasts until the test says so, however busy the machine is."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        assert self.over.wait(60)
        return self.is_set()


def test_a_step_that_ends_soon_reads_by_itself(node: TokenAuthority) -> None:
    """And beside no step there is nothing to do: the word begins one."""
    aside, before = Aside(node.follower()), reads(node)
    aside._over = patience = Patience()
    aside.called()
    assert not aside._running
    with aside.step():
        aside.called()
        assert aside._running
    patience.over.set()
    wait_until(lambda: not aside._running)
    assert reads(node) == before


def test_a_store_in_trouble_is_not_asked_more_often(node: TokenAuthority, cluster: Cluster) -> None:
    """Each revocation of others would be one more question of every node."""
    aside, store = Aside(node.follower()), store_of(node)
    store.failing["vouch"] = StoreUnavailable("it is slow")
    cluster.clock.advance(4)
    node.follower().step()
    assert node.follower().backing_off
    assert node.follower().fresh
    before = reads(node)
    with aside.step():
        aside.called()
        assert not aside._running
    assert reads(node) == before


def test_a_node_that_accepts_nothing_reads_nothing_aside(
    node: TokenAuthority, cluster: Cluster
) -> None:
    """Its step may just be reading a feed of a million, from the start."""
    aside = Aside(node.follower())
    cluster.clock.advance(60)
    with aside.step():
        aside.called()
        assert not aside._running


def test_nothing_is_read_once_it_was_stopped(
    node: TokenAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is closed behind it; whoever is patient just then ends at once."""
    monkeypatch.setattr("flask_clustertoken.revocations.aside.PATIENCE", 600.0)
    aside, before = Aside(node.follower()), reads(node)
    with aside.step():
        aside.called()
        assert aside._running
        aside.stop()
        wait_until(lambda: not aside._running)
        aside.called()
        assert not aside._running
    assert reads(node) == before
