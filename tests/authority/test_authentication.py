"""Authentication: what is accepted, what is refused and why, and whom it asks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from flask_clustertoken.clock import SKEW
from flask_clustertoken.errors import (
    StoreUnavailable,
)
from flask_clustertoken.revocations import FeedEntry
from flask_clustertoken.stores.base import NewEntry, Record
from flask_clustertoken.tokens import RING_KEY, fingerprint, new_id, ring_bytes
from tests.doubles import DAY, SECRET, Cluster, reason, store_of


def test_a_token_is_good_on_every_node(cluster: Cluster) -> None:
    """Whoever issued it: each node knows it, with the claims that only the record holds."""
    node, other = cluster.node(), cluster.node()
    issued = node.issue_login("alice", {"role": "admin"}, labels=["sid"])
    for one in (node, other):
        token = one.authenticate(issued.text)
        assert token
        assert (token.subject, token.claims, token.labels) == ("alice", {"role": "admin"}, ("sid",))


def test_a_seen_token_asks_nobody(cluster: Cluster) -> None:
    """After its first sight a session token costs no call until the answer is too old."""
    node = cluster.node(MAX_STALENESS=300, RECORD_CACHE=60)
    issued = node.issue_login("alice")
    assert node.authenticate(issued.text)
    calls = store_of(node).calls.copy()
    cluster.clock.advance(59)
    assert node.authenticate(issued.text)
    assert store_of(node).calls == calls
    cluster.clock.advance(2)
    assert node.authenticate(issued.text)
    assert store_of(node).calls["get_many"] == calls["get_many"] + 1


def test_a_token_of_the_cookie_store_asks_nobody_ever(cluster: Cluster) -> None:
    """With the token store ``cookie`` a login has no record, and its claims travel."""
    node, other = (cluster.node(TOKEN_STORE="cookie") for _ in range(2))
    issued = node.issue_login("alice", {"role": "x"})
    assert not [key for key in cluster.shelf.records if key.startswith("token/")]
    cluster.step(other)
    calls = store_of(other).calls.copy()
    token = other.authenticate(issued.text)
    assert token
    assert token.claims == {"role": "x"}
    assert store_of(other).calls == calls


def test_absence_is_never_remembered(cluster: Cluster) -> None:
    """A miss is asked for again: the record may only not have arrived yet."""
    node = cluster.node()
    issued = node.issue_login("alice")
    record = cluster.shelf.records.pop(issued.token.record_key)
    assert reason(node.authenticate(issued.text)) == "revoked"
    cluster.shelf.records[issued.token.record_key] = record
    assert node.authenticate(issued.text)


def test_an_answer_that_crossed_a_revocation_is_not_remembered(cluster: Cluster) -> None:
    """Read "alive", learn the end, remember: the view is asked after the record, each time."""
    node, other = cluster.node(), cluster.node()
    issued = node.issue_login("alice")
    node.follower()

    def crossing() -> None:
        other.revoke_ids([issued.token.id])
        node.follower().follow()

    store_of(node).after["get_many"] = crossing
    assert reason(node.authenticate(issued.text)) == "revoked"
    assert reason(node.authenticate(issued.text)) == "revoked"


def test_an_answer_is_remembered_from_when_it_was_asked(cluster: Cluster) -> None:
    """A thread that stood still after its read may not prolong what it read by that."""
    node = cluster.node(RECORD_CACHE=60, MAX_STALENESS=300)
    issued = node.issue_login("alice")
    store_of(node).after["get_many"] = lambda: cluster.clock.advance(61)
    assert node.authenticate(issued.text)
    del cluster.shelf.records[issued.token.record_key]
    assert reason(node.authenticate(issued.text)) == "revoked"


def test_the_lease_is_compared_last_with_the_end_taken_first(cluster: Cluster) -> None:
    """A slow read at age 9.9 s is refused, though the follower moved the lease on meanwhile."""
    node = cluster.node()
    issued = node.issue_login("alice")
    cluster.step()

    def slow() -> None:
        cluster.clock.advance(11)
        node.follower().step()

    store_of(node).after["get_many"] = slow
    assert reason(node.authenticate(issued.text)) == "stale"
    assert node.authenticate(issued.text)


def test_a_stale_node_refuses_also_what_it_has_seen(cluster: Cluster) -> None:
    """No step since the lease's end: refused by the clock alone, also after a suspension."""
    node = cluster.node()
    issued = node.issue_login("alice")
    assert node.authenticate(issued.text)
    cluster.clock.advance(10)
    assert reason(node.authenticate(issued.text)) == "stale"


def test_accepting_when_stale_needs_a_view_that_was_filled(cluster: Cluster) -> None:
    """``accept`` goes on with what is known; a node that never knew anything accepts nothing."""
    node = cluster.node(WHEN_STALE="accept")
    issued = node.issue_login("alice")
    assert node.authenticate(issued.text)
    cluster.clock.advance(3600)
    store_of(node).cut()
    node.follower().step()
    assert reason(node.authenticate(issued.text)) == "stale"  # the record must be asked for
    store_of(node).heal()
    assert node.authenticate(issued.text)
    fresh = cluster.node(WHEN_STALE="accept")
    store_of(fresh).failing["vouch"] = StoreUnavailable("no")
    assert reason(fresh.authenticate(issued.text)) == "stale"


@pytest.mark.parametrize(
    "known", ["sealed", "sealed in the root alone", "unreadable", "rolled back"]
)
def test_accepting_when_stale_ends_where_the_view_is_known_to_be_of_no_use(
    cluster: Cluster, known: str
) -> None:
    """``accept`` is for not knowing: a store that moved, or cannot be read, is known."""
    node = cluster.node(WHEN_STALE="accept", TOKEN_STORE="cookie")
    issued = node.issue_login("alice")
    cluster.step()
    store, shelf = store_of(node), cluster.shelf
    if known == "sealed":
        seal = FeedEntry("sealed", cluster.clock.time(), extra={"moved_to": "x:"}).entry(0.0)
        store.change_root(shelf.root, replace(shelf.root, state="sealed"), seal)
    elif known == "sealed in the root alone":
        store.change_root(shelf.root, replace(shelf.root, state="sealed"))
    elif known == "unreadable":
        store.append([NewEntry("newer", b'{"format":9,"kind":"ids"}', None)])
    else:
        node.revoke_subject("bob")
        cluster.step()
        shelf.entries.pop()
        shelf.head = shelf.entries[-1].seq
    for _ in range(5):
        cluster.clock.advance(4)
        cluster.step()
    assert reason(node.authenticate(issued.text)) == "stale"


def test_accepting_when_stale_ends_before_the_others_forget_the_node(cluster: Cluster) -> None:
    """Its entry is kept for a day: who is not in the list must not accept any more."""
    node = cluster.node(WHEN_STALE="accept", TOKEN_STORE="cookie")
    issued = node.issue_login("alice")
    store_of(node).cut()
    cluster.clock.advance(22 * 3600)
    assert node.authenticate(issued.text)
    cluster.clock.advance(2 * 3600)
    assert reason(node.authenticate(issued.text)) == "stale"


def test_a_closed_authority_accepts_nothing(cluster: Cluster) -> None:
    """Whoever left the list of nodes is no node, also where stale views are accepted."""
    for when in ("refuse", "accept"):
        node = cluster.node(WHEN_STALE=when, TOKEN_STORE="cookie")
        issued = node.issue_login("alice")
        assert node.authenticate(issued.text)
        node.close()
        assert reason(node.authenticate(issued.text)) == "stale"


def test_strict_asks_the_store(cluster: Cluster) -> None:
    """``strict`` sees a revocation that this node has not heard of, and a record that went."""
    node, other = cluster.node(), cluster.node()
    issued, second = node.issue_login("alice"), node.issue_login("alice")
    assert node.authenticate(issued.text)
    assert node.authenticate(second.text)
    del cluster.shelf.records[second.token.record_key]
    assert node.authenticate(second.text)
    assert reason(node.authenticate(second.text, strict=True)) == "revoked"
    other.revoke_subject("alice")
    assert node.authenticate(issued.text)
    assert reason(node.authenticate(issued.text, strict=True)) == "revoked"
    store_of(node).cut()
    assert reason(node.authenticate(issued.text, strict=True)) == "stale"


def test_expiry_tolerates_the_skew_and_nothing_more(cluster: Cluster) -> None:
    """A token is good until its expiry and the skew; then it is expired, by whichever node."""
    node = cluster.node(MAX_STALENESS=300, TOKEN_STORE="cookie")
    issued = node.issue_login("alice")
    cluster.clock.advance(7 * DAY + SKEW - 1)
    node.follower().step()
    assert node.authenticate(issued.text)
    cluster.clock.advance(1)
    found = node.authenticate(issued.text)
    assert reason(found) == "expired"
    assert found.expired_at == issued.token.expires_at  # type: ignore[union-attr]


def test_a_lowered_absolute_lifetime_counts_at_once(cluster: Cluster) -> None:
    """The end of all renewals is judged by each node's own setting, not by the text."""
    node = cluster.node(TOKEN_STORE="cookie")
    lower = cluster.node(
        TOKEN_STORE="cookie", LIFETIME=3600, RENEW_AFTER=60, ABSOLUTE_LIFETIME=3600
    )
    issued = node.issue_login("alice")
    cluster.clock.advance(3600 + SKEW)
    cluster.step()
    assert node.authenticate(issued.text)
    assert reason(lower.authenticate(issued.text)) == "expired"


def test_a_token_ahead_of_this_node_waits_for_the_feed(cluster: Cluster) -> None:
    """A login on another node a moment ago is good here at once."""
    node, other = cluster.node(), cluster.node()
    node.follower()
    other.revoke_subject("alice")
    assert node.authenticate(other.issue_login("alice").text)


@pytest.mark.parametrize("change", ["id", "subject", "kind"])
def test_the_record_must_be_the_tokens_own(cluster: Cluster, change: str) -> None:
    """A record of somebody else under this key makes no token."""
    node = cluster.node()
    issued = node.issue_login("alice")
    key = issued.token.record_key
    data = json.loads(cluster.shelf.records[key].value)
    data[change] = {"id": new_id("alice"), "subject": "bob", "kind": "api"}[change]
    cluster.shelf.records[key] = Record(json.dumps(data).encode(), None)
    assert reason(node.authenticate(issued.text)) == "invalid"


def test_a_record_of_a_newer_form_is_stale(cluster: Cluster) -> None:
    """A newer node wrote it: the cookie is kept."""
    node = cluster.node()
    issued = node.issue_login("alice")
    data = json.loads(cluster.shelf.records[issued.token.record_key].value) | {"format": 9}
    cluster.shelf.records[issued.token.record_key] = Record(json.dumps(data).encode(), None)
    assert reason(node.authenticate(issued.text)) == "stale"


def test_a_change_of_keys_empties_what_was_seen(cluster: Cluster) -> None:
    """A text signed by a dropped key is refused, although it was seen before."""
    node = cluster.node(SECRET=[SECRET, "n" * 40])
    issued = node.issue_login("alice")
    assert node.authenticate(issued.text)
    states = {fingerprint(SECRET): "dropped", fingerprint("n" * 40): "signing"}
    node.keys.load_states(ring_bytes(states))  # type: ignore[arg-type]
    assert reason(node.authenticate(issued.text)) == "invalid"


def test_new_states_of_keys_arrive_by_the_feed(cluster: Cluster) -> None:
    """An entry about the keys makes every node read their states."""
    from flask_clustertoken.revocations import FeedEntry

    node, other = (cluster.node(SECRET=[SECRET, "n" * 40]) for _ in range(2))
    cluster.step()
    store_of(node).put(RING_KEY, ring_bytes({fingerprint("n" * 40): "signing"}), None)
    node.publisher.append(FeedEntry("keys", cluster.clock.time()))
    cluster.step()
    assert {one.keys.signing()[0] for one in (node, other)} == {fingerprint("n" * 40)}
