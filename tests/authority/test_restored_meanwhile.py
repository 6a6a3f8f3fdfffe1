"""A backup was put back, and nobody has said so yet: a number alone tells nobody where he stands.

Where a clock had run ahead, what the backup lost gave numbers that come again, one by one. A
node that stands in what was lost must not take its number for one of the new history.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_clustertoken.authority import IssuedToken, TokenAuthority
from flask_clustertoken.errors import Locked, RevokedMeanwhile, StoreUnavailable
from flask_clustertoken.stores.base import Batch
from flask_clustertoken.tokens import Token
from tests.doubles import Cluster, reason
from tests.revocations.histories import roll_back, run_ahead

from .test_standing import MAKE, Make


def restored_under(
    cluster: Cluster, *, lost: int, token_store: str = "session"
) -> tuple[TokenAuthority, TokenAuthority, IssuedToken]:
    """A node that has read *lost* entries which the store does not have any more.

    That node, another one that has not read them, and a login of before.
    """
    node, other = (cluster.node(TOKEN_STORE=token_store) for _ in range(2))
    cluster.step()
    run_ahead(cluster)
    issued = other.issue_login("alice", labels=["idp:1"])
    cluster.step()
    kept = len(cluster.shelf.entries)
    writer = cluster.node(active=False)
    for _ in range(lost):
        writer.revoke_labels(["lost"])
    cluster.members.pop()
    cluster.step(node)
    assert node.authenticate(issued.text)
    roll_back(cluster, kept)
    return node, other, issued


def log_in_beside(node: TokenAuthority, asked: Token) -> IssuedToken:
    return node.issue_login(asked.subject, since=node.begin(), on=asked)


@pytest.mark.parametrize("token_store", ["session", "cookie"])
@pytest.mark.parametrize("lost", [1, 2], ids=["at the same number", "at a lower number"])
@pytest.mark.parametrize("make", [*MAKE, log_in_beside])
@pytest.mark.parametrize(
    "end",
    [
        lambda node: node.revoke_subject("alice"),
        lambda node: node.revoke_all(),
        lambda node: node.revoke_labels(["idp:1"]),
    ],
    ids=["subject", "everything", "label"],
)
def test_nothing_is_made_under_a_head_of_another_history(
    cluster: Cluster,
    make: Make,
    end: Callable[[TokenAuthority], object],
    lost: int,
    token_store: str,
) -> None:
    """Neither where the number at which the token was judged came again, nor below it."""
    node, other, issued = restored_under(cluster, lost=lost, token_store=token_store)
    end(other)
    before = set(cluster.shelf.records)
    with pytest.raises((RevokedMeanwhile, StoreUnavailable)):
        make(node, issued.token)
    assert {key for key in cluster.shelf.records if key.startswith("token/")} <= before


def test_a_strict_look_notices_that_the_store_went_back(cluster: Cluster) -> None:
    """It asks for the head, and that lies below what this node knows."""
    node, other, issued = restored_under(cluster, lost=2)
    other.revoke_all()
    assert reason(node.authenticate(issued.text, strict=True)) in ("stale", "revoked")
    assert node.follower().rolled_back


@pytest.mark.parametrize("end", ["a lock", "a revocation"])
def test_a_strict_look_reads_what_came_under_the_number_at_which_this_node_stands(
    cluster: Cluster, end: str
) -> None:
    """By its number it seems to have read all, and what it read there was another entry."""
    node, other, issued = restored_under(cluster, lost=1)
    if end == "a lock":
        other.locking.lock(subject="alice")
    else:
        other.revoke_all()
    assert node.follower().view.applied == cluster.shelf.head
    assert not node.authenticate(issued.text, strict=True)
    assert node.follower().rolled_back


@pytest.mark.parametrize("token_store", ["session", "cookie"])
@pytest.mark.parametrize("lost", [1, 2], ids=["at the same number", "at a lower number"])
def test_who_is_locked_out_is_not_let_in_under_a_number_that_came_again(
    cluster: Cluster, lost: int, token_store: str
) -> None:
    """Also where a login writes nothing, so that no condition of a step tells the history."""
    node, other, _ = restored_under(cluster, lost=lost, token_store=token_store)
    other.locking.lock(subject="alice")
    with pytest.raises((Locked, StoreUnavailable)):
        node.issue_login("alice", since=node.begin())


def test_a_login_that_writes_nothing_loses_against_a_number_that_came_again(
    cluster: Cluster,
) -> None:
    """It began before the revocation, which stands where this node had read another entry."""
    node, other, _ = restored_under(cluster, lost=1, token_store="cookie")
    since = node.begin()
    other.revoke_subject("alice")
    with pytest.raises((RevokedMeanwhile, StoreUnavailable)):
        node.issue_login("alice", since=since)


def test_nothing_is_made_where_the_place_of_this_node_is_not_shown(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever answers lags: then nothing tells whether the head is the entry that was read."""
    node, other, _ = restored_under(cluster, lost=1, token_store="cookie")
    other.locking.lock(subject="alice")
    since, store = node.begin(), node.runtime.store
    monkeypatch.setattr(store, "read", lambda after, limit=1000: Batch((), after, False, 0))
    with pytest.raises(StoreUnavailable):
        node.issue_login("alice", since=since)


def test_a_lock_is_not_dropped_by_a_snapshot_that_ends_below_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that was slow takes the place of before for a loss, and is shown the half only."""
    node, other, _ = restored_under(cluster, lost=2)
    other.locking.lock(subject="alice")
    other.revoke_labels(["another"])
    reader = node.follower().reader
    with pytest.raises(Locked):
        node.issue_login("alice", since=node.begin())
    store, place, read = node.runtime.store, reader.place(), node.runtime.store.read

    def half(after: int, limit: int = 1000) -> Batch:
        batch = read(after, limit)
        kept = batch.entries[:-2]
        return Batch(kept, kept[-1].seq, False, batch.floor)

    with monkeypatch.context() as patch:
        patch.setattr(store, "read", half)
        reader.lost(place.seq, reader.era)
        reader.take_snapshot()
    with pytest.raises(Locked):
        node.issue_login("alice", since=node.begin())


def test_a_node_knows_its_own_revocation_under_a_number_that_came_again(cluster: Cluster) -> None:
    """Also before it has noticed that the number was another entry's."""
    node, _, issued = restored_under(cluster, lost=2)
    node.revoke_all()
    assert reason(node.authenticate(issued.text)) == "revoked"
