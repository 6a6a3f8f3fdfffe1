"""The authority as a whole: what it tells, and how it ends."""

from __future__ import annotations

import gc

import pytest

from flask_clustertoken.authority import TokenAuthority, authorities
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import (
    ClusterTokenError,
)
from flask_clustertoken.events import TokenIssued, TokenRefused, TokenRenewed, TokenRevoked
from flask_clustertoken.settings import Settings
from tests.doubles import DAY, Cluster, reason, store_of


def test_a_raising_listener_changes_nothing(cluster: Cluster) -> None:
    """An exception in a hook authenticates nobody, loses nothing, and undoes nothing."""
    node = cluster.node()

    def broken(event: object) -> None:
        raise RuntimeError("a hook of the app")

    for event in (TokenIssued, TokenRenewed, TokenRevoked, TokenRefused):
        node.events.listen(event, broken)
    issued = node.issue_login("alice")
    assert node.authenticate(issued.text)
    cluster.clock.advance(2 * DAY)
    cluster.step()
    assert node.renew(issued.text, issued.token)
    node.revoke_ids([issued.token.id])
    assert reason(node.authenticate(issued.text)) == "revoked"


def test_what_happened_is_said_once_and_where_it_was_asked(cluster: Cluster) -> None:
    """Issued, revoked and refused: by the process that did it, not by the others."""
    node, other = cluster.node(), cluster.node()
    heard: list[str] = []
    for where, one in (("node", node), ("other", other)):
        for event in (TokenIssued, TokenRevoked, TokenRefused):
            one.events.listen(event, lambda e, w=where: heard.append(f"{w} {type(e).__name__}"))
    issued = node.issue_login("alice")
    node.revoke_ids([issued.token.id])
    cluster.step()
    node.authenticate(issued.text)
    assert heard == ["node TokenIssued", "node TokenRevoked", "node TokenRefused"]


def test_closing_twice_is_fine_and_leaves_the_list(cluster: Cluster) -> None:
    """A clean end takes the entry away, so that nobody waits for this node."""
    node = cluster.node()
    node.follower()
    assert len(cluster.shelf.presence) == 1
    node.close()
    node.close()
    assert not cluster.shelf.presence
    with pytest.raises(ClusterTokenError):
        cluster.node().store and node.issue_login("alice")


def test_a_command_line_is_no_node(cluster: Cluster) -> None:
    """It follows and writes, but stands in no list and vouches for nothing."""
    node, shell = cluster.node(), cluster.node(active=False)
    issued = node.issue_login("alice")
    shell.revoke_subject("alice")
    assert set(cluster.shelf.presence) == {node.follower().node_id}
    cluster.step(node)
    assert reason(node.authenticate(issued.text)) == "revoked"
    assert not shell.follower().fresh


def test_readiness_never_raises(cluster: Cluster) -> None:
    """Whatever is wrong, ``/readyz`` has an answer."""
    node = cluster.node()
    store_of(node).cut()
    assert not node.readiness().fresh
    store_of(node).heal()
    node.follower().step()
    assert node.readiness().fresh
    node.close()
    assert not node.readiness().fresh


def test_a_clock_for_each_node(cluster: Cluster) -> None:
    """Order does not rest on wall clocks: a mark by a slow node covers a fast node's token."""
    fast, slow = (cluster.node(ManualClock(1_800_000_000.0 + skew)) for skew in (30.0, -30.0))
    issued = fast.issue_login("alice")
    slow.revoke_subject("alice")
    again = fast.issue_login("alice")
    cluster.step()
    for one in (fast, slow):
        assert reason(one.authenticate(issued.text)) == "revoked"
        assert one.authenticate(again.text)


def test_whoever_is_let_go_is_no_node() -> None:
    """A look at the settings makes an authority; no worker joins with it afterwards."""
    settings = Settings.from_mapping(
        {"CLUSTERTOKEN_STORE": "memory:", "CLUSTERTOKEN_SECRET": "k" * 40}
    )
    held = TokenAuthority(settings)
    gc.disable()
    try:
        before = set(map(id, authorities()))
        TokenAuthority(settings)
        assert set(map(id, authorities())) == before
    finally:
        gc.enable()
    assert id(held) in before
    held.close()
    assert held not in authorities()
