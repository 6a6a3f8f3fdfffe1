"""What becomes of a history: a clock ran ahead, a backup or another store takes its place."""

from __future__ import annotations

from collections.abc import Callable

from flask_clustertoken.authority import IssuedToken, TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.cluster import Revocation
from flask_clustertoken.stores.base import Root
from tests.doubles import DAY, Cluster


def roll_back(cluster: Cluster, entries: int) -> None:
    shelf = cluster.shelf
    shelf.entries = shelf.entries[:entries]
    shelf.head = shelf.entries[-1].seq
    shelf.known = {one.id: one.seq for one in shelf.entries}


def run_ahead(cluster: Cluster) -> None:
    """A host whose clock is a month ahead revokes something: numbers go on from there."""
    clock = ManualClock()
    clock.set_wall(30 * DAY)
    cluster.node(clock, active=False).revoke_labels(["ahead"])
    cluster.members.pop()


def restore_under(
    cluster: Cluster, lose: Callable[[TokenAuthority], Revocation]
) -> tuple[TokenAuthority, TokenAuthority, IssuedToken, Revocation]:
    """A node that has read what *lose* appends at another one, and a store that has lost it.

    Both nodes, an API token that is good, and what *lose* gave. A clock had run ahead.
    """
    node, other = cluster.node(), cluster.node()
    run_ahead(cluster)
    issued = node.issue_api_token("alice", "ci")
    kept = len(cluster.shelf.entries)
    lost = lose(other)
    cluster.step(node)
    assert node.authenticate(issued.text, "api")
    roll_back(cluster, kept)
    return node, other, issued, lost


def replace_the_store(cluster: Cluster) -> None:
    """As an embedded store is begun anew: empty, with another epoch, numbers going on."""
    shelf = cluster.shelf
    shelf.root = Root("another")
    shelf.entries, shelf.known, shelf.records, shelf.presence = [], {}, {}, {}
    shelf.floor = shelf.head
