"""``--wait`` and ``nodes`` in a cluster: who answered, who did not, and never too much."""

from __future__ import annotations

import json

import pytest

from flask_clustertoken.cli.waiting import confirmation_facts, outcome, progress_line
from flask_clustertoken.cluster import Answer, Confirmation, Node, Silence
from flask_clustertoken.operations import remove_node
from flask_clustertoken.operations.removal import RemovalRefused

from .parts import Cluster, FarStore

WEB1, WEB2 = Node("1" * 32, "web1", 7), Node("2" * 32, "web2", 7)


def test_wait_ends_when_every_node_has_answered(cluster: Cluster) -> None:
    """With every node alive ``--wait`` ends with 0 and says on how many it is in force."""
    first, _ = cluster.node(), cluster.node()
    text = first.issue_login("alice").text

    result = cluster.call("revoke-subject", "alice", "--wait")

    assert "In force on all 2 nodes" in result.stdout
    assert not first.authenticate(text)


def test_wait_names_who_is_silent(cluster: Cluster) -> None:
    """A node that has not answered in time is named, with the end of its lease; the code is 1."""
    cluster.node()
    cluster.node(answers=False)

    told = cluster.call("revoke-all", "--yes", "--wait", "--timeout", "0.3", "--json", code=1)
    state = json.loads(told.stdout)["confirmation"]

    assert not state["in_force"]
    assert len(state["answered"]) == len(state["silent"]) == 1
    assert 9 < state["silent"][0]["certain_in"] < 10.3

    said = cluster.call("revoke-all", "--yes", "--wait", "--timeout", "0.3", code=1).stdout
    assert "NOT confirmed" in said
    assert "In force" not in said


def test_a_silent_node_becomes_certain(cluster: Cluster) -> None:
    """Once a silent node's lease is over it is in force, and the answer says by what."""
    cluster.node(answers=False, MAX_STALENESS=0.2)

    said = cluster.call("revoke-all", "--yes", "--wait").stdout

    assert "0 nodes answered" in said
    assert "can accept nothing any more" in said


def test_a_node_that_accepts_when_stale_is_never_certain(cluster: Cluster) -> None:
    """Of a silent node with ``WHEN_STALE=accept`` nothing is promised, however long one waits."""
    cluster.node(answers=False, WHEN_STALE="accept", MAX_STALENESS=0.1)

    said = cluster.call("revoke-all", "--yes", "--wait", "--timeout", "0.5", code=1).stdout

    assert "never certain" in said
    assert "In force" not in said


def test_expected_hosts_that_are_absent_are_named(cluster: Cluster) -> None:
    """A host in ``EXPECTED_NODES`` without a node is named, by ``--wait`` and by ``nodes``."""
    cluster.node()

    waited = cluster.call("revoke-all", "--yes", "--wait", EXPECTED_NODES=["web9"])
    listed = cluster.call("nodes", EXPECTED_NODES=["web9"], code=1)

    assert "web9" in waited.stdout
    assert "web9" in listed.stderr


def test_without_wait_nothing_is_promised(cluster: Cluster) -> None:
    """Without ``--wait`` a cluster's answer speaks of the store, not of the nodes."""
    cluster.node(answers=False)

    said = cluster.call("revoke-all", "--yes").stdout

    assert "In force" not in said
    assert "--wait" in said


def test_the_progress_line_says_who_and_when() -> None:
    """One line has how many answered, who did not, and when it is certain at the latest."""
    state = Confirmation(1, 0.1, (Answer(WEB1, 0.1),), (Silence(WEB2, 7.2),))
    never = Confirmation(1, 0.1, (), (Silence(WEB2, None),))

    assert (
        progress_line(state) == "1 of 2 nodes; waiting for web2:7; certain in 7.2 s at the latest"
    )
    assert progress_line(never).endswith("never certain")


def test_an_empty_cluster_is_said() -> None:
    """With no node listed the answer does not say that any has it."""
    assert "No node is running" in outcome(Confirmation(1, 0.1), False, 1.0)[0]


def test_what_a_confirmation_leaves_open_is_said() -> None:
    """Where the way that the store is set up leaves something open, text and JSON have it."""
    state = Confirmation(1, 0.1, reservation="there is no bound across a fail-over")

    assert "But: there is no bound across a fail-over" in outcome(state, False, 1.0)[-1]
    assert confirmation_facts(state)["reservation"] == state.reservation
    assert "But" not in "".join(outcome(Confirmation(1, 0.1), False, 1.0))


def test_nodes_names_where_settings_differ(cluster: Cluster) -> None:
    """Two nodes with different settings are shown, the setting is named, and the code is 1."""
    cluster.node()
    cluster.node(LIFETIME=3 * 86_400)

    result = cluster.call("nodes", code=1)
    told = json.loads(cluster.call("nodes", "--json", code=1).stdout)

    assert "DIFFERS: LIFETIME" in result.stderr
    assert "Make the settings agree" in result.stderr
    assert all(one["remedy"] for one in told["drift"])
    assert {one["setting"] for one in told["drift"]} == {"LIFETIME"}
    assert len(told["nodes"]) == 2


def test_nodes_shows_fingerprints_only(cluster: Cluster) -> None:
    """The list of nodes has no key in it."""
    node = cluster.node()
    (secret,) = node.settings.secret

    for args in (["nodes"], ["nodes", "--json"]):
        assert secret not in cluster.call(*args).output


def test_a_living_node_is_not_removed(cluster: Cluster) -> None:
    """Removing a node that shows a sign of life is refused, and it stays in the list."""
    node = cluster.node(MAX_STALENESS=1.0)

    result = cluster.call("nodes", "--remove", node.follower().node_id[:8], code=1)

    assert "is alive" in result.stderr
    assert len(node.store.nodes()) == 1


def test_a_dead_node_is_removed_after_its_lease(cluster: Cluster) -> None:
    """A silent node goes once its entry has stood still for its own lease, by our clock."""
    node = cluster.node(answers=False, MAX_STALENESS=0.3)
    start = node.clock.monotonic()

    cluster.call("nodes", "--remove", node.follower().node_id)

    assert node.clock.monotonic() - start >= 0.3
    assert node.store.nodes() == []
    assert not node.follower().fresh


def test_a_node_that_accepts_when_stale_is_not_removed(cluster: Cluster) -> None:
    """It is never certain that such a node is over, so its entry is left to the sweeper."""
    node = cluster.node(answers=False, WHEN_STALE="accept", MAX_STALENESS=0.1)

    cluster.call("nodes", "--remove", node.follower().node_id, code=1)

    assert len(node.store.nodes()) == 1


def test_removal_needs_one_node(cluster: Cluster) -> None:
    """What names no node, or two of them, removes none."""
    one, two = cluster.node(answers=False), cluster.node(answers=False)
    store = FarStore(cluster.shelf)

    for text in ("nobody:1", "", f"{WEB1.host}:1"):
        with pytest.raises(RemovalRefused, match="no such node"):
            remove_node(store, one.clock, text)
    with pytest.raises(RemovalRefused, match="several"):
        # Both are of this process.
        remove_node(store, two.clock, cluster_name(store))
    assert len(store.nodes()) == 2


def cluster_name(store: FarStore) -> str:
    return Node.decode(store.nodes()[0]).name
