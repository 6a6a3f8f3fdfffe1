"""Nodes: what each says of itself, and where they differ."""

from __future__ import annotations

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.cluster import Node, drift
from flask_clustertoken.cluster.nodes import listed
from flask_clustertoken.operations import remove_node
from flask_clustertoken.operations.removal import RemovalRefused
from flask_clustertoken.settings import STALENESS_LIMIT
from flask_clustertoken.stores.base import Presence
from tests.doubles import SECRET, Cluster, store_of


def test_an_entry_round_trips() -> None:
    """What a node says is what the others read."""
    node = Node("n", "host", 7, applied=5, seen=9, max_staleness=4.0, keys=("a",))
    assert Node.decode(Presence("n", node.encode(), 1, 0.0)) == node


def test_what_is_not_understood_counts_as_the_worst() -> None:
    """An unreadable entry has the longest lease that there is, and has applied nothing."""
    for info in (b"", b"[]", b"{}", b'{"keys":5}'):
        node = Node.decode(Presence("n", info, 1, 0.0))
        assert (node.id, node.applied, node.max_staleness) == ("n", 0, STALENESS_LIMIT)


def test_silence_is_certain_when_the_lease_is_over_with_a_margin() -> None:
    """Two clocks may run apart by a hundredth, and a call takes a tenth of a second."""
    node = Node("n", max_staleness=10.0)
    assert node.certainly_over_after == node.lease_over_after == 10.0 * 1.01 + 0.1


def test_of_who_accepts_while_stale_nothing_is_ever_certain() -> None:
    """Its lease is over as everybody's is; it accepts all the same."""
    node = Node("n", max_staleness=10.0, accepts_when_stale=True)
    assert node.certainly_over_after is None
    assert node.lease_over_after > 10.0


def test_a_differing_node_is_named_with_the_setting() -> None:
    """The minority is named, by setting and host, in realm and in deployment."""
    same = [Node(str(n), f"h{n}", n, realm_settings={"COOKIE_NAME": "a"}) for n in range(3)]
    other = Node("x", "odd", 9, realm_settings={"COOKIE_NAME": "b"})
    (found,) = drift([*same, other])
    assert str(found) == "COOKIE_NAME is b on odd:9, but a elsewhere"
    assert drift(same) == []


def test_the_list_shows_who_is_quiet_and_no_secret(cluster: Cluster) -> None:
    """Every node is listed with how long it has been quiet; keys only by fingerprint."""
    node, other = cluster.node(), cluster.node()
    cluster.step()
    cluster.clock.advance(25)
    cluster.step(node)
    found = {one.node.id: one for one in node.nodes()}
    assert not found[node.follower().node_id].silent
    assert found[other.follower().node_id].silent
    assert SECRET not in repr(found) + repr(cluster.shelf.presence)
    assert listed([], 0.0) == []


@pytest.mark.parametrize("skew", [-59, -30, 30, 59])
@pytest.mark.parametrize("whose", ["asker", "node"])
def test_who_is_silent_is_told_by_the_stores_clock(
    cluster: Cluster, whose: str, skew: float
) -> None:
    """Clocks that are off by what is tolerated make no living node silent, and no dead one live."""
    off = ManualClock(cluster.clock.time() + skew)
    node = cluster.node(off if whose == "node" else None)
    asker = cluster.node(off if whose == "asker" else None, active=False)
    cluster.step(node)
    assert [one.silent for one in asker.nodes()] == [False]
    for clock in (cluster.clock, off):
        clock.advance(25)
    (found,) = asker.nodes()
    assert found.silent
    assert found.quiet_for == pytest.approx(25)


def test_a_store_that_is_slow_makes_nobody_silent(cluster: Cluster) -> None:
    """What passes while the list is read does not count."""
    node, asker = cluster.node(MAX_STALENESS=1), cluster.node(active=False)
    cluster.step(node)
    asker.follower()
    store_of(asker).after["nodes"] = lambda: cluster.clock.advance(4)
    assert [one.silent for one in asker.nodes()] == [False]


def test_a_node_that_comes_back_while_it_is_removed_stays(cluster: Cluster) -> None:
    """By hand too: it renews its entry between the last look at it and the removal."""
    node, silent = cluster.node(), cluster.node()
    cluster.step()
    name = silent.follower().node_id
    cluster.clock.advance(30)
    cluster.step(node)
    store_of(node).before["withdraw"] = lambda: cluster.step(silent)
    with pytest.raises(RemovalRefused, match="is alive"):
        remove_node(node.store, cluster.clock, name, wait=cluster.clock.advance)
    assert name in cluster.shelf.presence
    assert silent.follower().fresh
