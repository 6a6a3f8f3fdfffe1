"""The follower and the store's history: another epoch, a backup put back, another store."""

from __future__ import annotations

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.cluster import Revocation
from flask_clustertoken.stores.base import Batch, Root
from tests.doubles import Cluster, reason, store_of
from tests.revocations.histories import replace_the_store, restore_under, roll_back, run_ahead


def test_another_epoch_refuses_the_old_tokens(cluster: Cluster) -> None:
    """A store that was deleted or swapped is closed, not open, to what another one made."""
    node = cluster.node()
    issued = node.issue_login("alice")
    assert node.authenticate(issued.text)
    cluster.shelf.root = Root("another")
    cluster.clock.advance(5)
    node.follower().step()
    assert reason(node.authenticate(issued.text)) == "revoked"
    assert node.authenticate(node.issue_login("alice").text)


def test_a_rollback_makes_stale_until_it_was_restored(cluster: Cluster) -> None:
    """A node that knows more than the store refuses; ``restored`` ends the old logins and that."""
    node, other = cluster.node(), cluster.node()
    issued = node.issue_login("alice")
    cluster.step()
    kept = len(cluster.shelf.entries)
    node.revoke_labels(["lost"])
    cluster.step()
    roll_back(cluster, kept)
    cluster.clock.advance(5)
    cluster.step()
    assert [one.follower().rolled_back for one in (node, other)] == [True, True]
    assert reason(node.authenticate(issued.text)) == "stale"
    assert "tokens restored" in node.follower().trouble
    other.revoke_labels(["newer"])
    cluster.step()
    assert not node.follower().fresh
    other.restored()
    cluster.step()
    assert node.follower().fresh
    assert reason(node.authenticate(issued.text)) == "revoked"
    assert node.authenticate(other.issue_login("alice").text)


def test_a_rollback_under_newer_entries_is_noticed(cluster: Cluster) -> None:
    """Each entry names its predecessor: a history without our position is not ours."""
    node, other = cluster.node(), cluster.node()
    cluster.step()
    kept = len(cluster.shelf.entries)
    node.revoke_labels(["lost"])
    cluster.step(node)
    roll_back(cluster, kept)
    cluster.clock.advance(1)
    other.revoke_labels(["newer"])
    node.follower().step()
    assert not node.follower().fresh
    assert node.follower().rolled_back


@pytest.mark.parametrize("newer", [False, True], ids=["an older end", "newer entries behind it"])
def test_a_store_that_lost_what_this_node_just_appended_is_noticed(
    cluster: Cluster, newer: bool
) -> None:
    """Nobody had read it yet, this node neither: it was acknowledged, and that is enough."""
    node, other = cluster.node(), cluster.node()
    issued = node.issue_login("alice")
    cluster.step()
    kept = len(cluster.shelf.entries)
    node.revoke_labels(["lost"])
    roll_back(cluster, kept)
    cluster.clock.advance(1)
    if newer:
        other.revoke_labels(["newer"])
    cluster.clock.advance(3)
    cluster.step()
    assert [one.follower().rolled_back for one in (node, other)] == [True, False]
    assert reason(node.authenticate(issued.text)) == "stale"
    other.restored()
    cluster.step()
    assert node.follower().fresh
    assert reason(node.authenticate(issued.text)) == "revoked"


def test_numbers_that_come_again_are_another_history(cluster: Cluster) -> None:
    """After a clock had run ahead, a restored store gives the lost numbers to other entries."""
    node, other, issued, lost = restore_under(cluster, lambda one: one.revoke_labels(["lost"]))
    assert other.revoke_ids([issued.token.id]).seq == lost.seq
    cluster.clock.advance(4)
    cluster.step(node)
    assert reason(node.authenticate(issued.text, "api")) == "revoked"
    assert node.follower().rolled_back


def test_restored_makes_every_node_read_the_feed_anew(cluster: Cluster) -> None:
    """Even where the entry at which a node stands came again as well: a message sent twice."""

    def lose(one: TokenAuthority) -> Revocation:
        one.revoke_labels(["lost"])
        return one.revoke_labels(["sid"], entry_id="message")

    node, other, issued, message = restore_under(cluster, lose)
    other.revoke_ids([issued.token.id])
    assert other.revoke_labels(["sid"], entry_id="message").seq == message.seq
    other.restored()
    cluster.clock.advance(4)
    cluster.step(node)
    assert reason(node.authenticate(issued.text, "api")) == "revoked"
    assert node.follower().fresh


def test_a_reading_that_lags_does_not_vouch_for_our_place(cluster: Cluster) -> None:
    """It does not show what stands there: the lease runs on, and is not made longer."""
    node, other, issued, _ = restore_under(cluster, lambda one: one.revoke_labels(["lost"]))
    follower, store = node.follower(), store_of(node)
    other.revoke_ids([issued.token.id])
    end = follower.lease_end
    cluster.clock.advance(4)
    store.read = lambda after, limit=0: Batch((), after, False, 0)  # type: ignore[method-assign]
    cluster.step(node)
    assert follower.lease_end == end
    del store.read
    cluster.step(node)
    assert reason(node.authenticate(issued.text, "api")) == "revoked"


def test_restored_ends_logins_whose_numbers_nobody_has_met(cluster: Cluster) -> None:
    """The app was stopped: that they are out, and at which numbers, is known to nobody."""
    gone = cluster.node(TOKEN_STORE="cookie")
    run_ahead(cluster)
    kept = len(cluster.shelf.entries)
    gone.revoke_labels(["lost"])
    gone.revoke_labels(["lost, too"])
    issued = gone.issue_login("alice")
    gone.close()
    roll_back(cluster, kept)
    node = cluster.node(TOKEN_STORE="cookie")
    node.restored()
    for label in ("one", "two", "three"):
        node.revoke_labels([label])
    cluster.step(node)
    assert reason(node.authenticate(issued.text)) == "revoked"


def test_reading_on_meanwhile_is_no_rollback(cluster: Cluster) -> None:
    """Other threads move the position while the head is asked for; nothing was lost by that."""
    node, other = cluster.node(), cluster.node()
    follower = node.follower()
    cluster.clock.advance(5)

    def meanwhile() -> None:
        other.revoke_labels(["x"])
        follower.follow()

    store_of(node).after["vouch"] = meanwhile
    store_of(node).after["head"] = meanwhile
    follower.step()
    assert not follower.rolled_back
    assert follower.fresh


def test_a_token_beyond_the_head_is_a_rollback(cluster: Cluster) -> None:
    """A genuine token that knows a number which the store does not: the store lost it."""
    node, other = cluster.node(), cluster.node()
    node.follower()
    kept = len(cluster.shelf.entries)
    other.revoke_labels(["lost"])
    issued = other.issue_login("alice")
    roll_back(cluster, kept)
    assert reason(node.authenticate(issued.text)) == "stale"
    assert node.follower().rolled_back
    assert not node.follower().fresh


@pytest.mark.parametrize("token_store", ["cookie", "session"])
def test_a_replaced_store_is_not_taken_for_the_old_one(host: Cluster, token_store: str) -> None:
    """A revocation that was lost with the old store was not read; its token's epoch says no."""
    node, other = (host.node(TOKEN_STORE=token_store) for _ in range(2))
    issued, honest = node.issue_login("alice"), node.issue_login("bob")
    assert other.authenticate(issued.text)
    assert other.authenticate(honest.text)
    node.revoke_ids([issued.token.id])
    replace_the_store(host)
    assert reason(other.authenticate(issued.text)) == "revoked"
    assert reason(other.authenticate(honest.text)) == "revoked"


@pytest.mark.parametrize("call", ["read", "root"])
def test_a_store_that_is_replaced_during_a_step_gives_no_lease_to_the_old_epoch(
    host: Cluster, call: str
) -> None:
    """Between any two calls of a step: what was read of the new store vouches for no old token."""
    node, other = (host.node(TOKEN_STORE="cookie") for _ in range(2))
    issued = node.issue_login("alice")
    assert other.authenticate(issued.text)
    node.revoke_ids([issued.token.id])
    store_of(other).before[call] = lambda: replace_the_store(host)
    host.clock.advance(4)
    other.follower().step()
    assert not other.authenticate(issued.text)
    other.follower().step()
    assert reason(other.authenticate(issued.text)) == "revoked"
