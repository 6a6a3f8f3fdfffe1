"""The life of a token: issued, judged, renewed, revoked, listed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.errors import (
    ClusterTokenError,
    RevokedMeanwhile,
    StoreUnavailable,
    TokenLimitReached,
)
from flask_clustertoken.events import TokenIssued, TokenRefused, TokenRenewed, TokenRevoked
from flask_clustertoken.revocations import Notice
from flask_clustertoken.stores.base import NewEntry, Record
from flask_clustertoken.stores.memory import Shelf
from flask_clustertoken.tokens import RING_KEY, fingerprint, new_id, ring_bytes
from tests.doubles import DAY, SECRET, Cluster, reason, store_of

WRITES = ("add", "put", "touch", "delete", "append")


def writes(node: TokenAuthority) -> int:
    return sum(store_of(node).calls[name] for name in WRITES)


# -- authenticate ----------------------------------------------------------------------


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
        seal = Notice("sealed", cluster.clock.time(), extra={"moved_to": "x:"}).entry(0.0)
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
    """A notice of the keys makes every node read their states."""
    from flask_clustertoken.revocations import Notice

    node, other = (cluster.node(SECRET=[SECRET, "n" * 40]) for _ in range(2))
    cluster.step()
    store_of(node).put(RING_KEY, ring_bytes({fingerprint("n" * 40): "signing"}), None)
    node.publisher.append(Notice("keys", cluster.clock.time()))
    cluster.step()
    assert {one.keys.signing()[0] for one in (node, other)} == {fingerprint("n" * 40)}


# -- revoke ----------------------------------------------------------------------------


@pytest.mark.parametrize("token_store", ["session", "cookie"])
@pytest.mark.parametrize("what", ["id", "label", "subject", "realm", "not_before"])
def test_revoked_is_refused_on_each_node_that_heard_of_it(
    cluster: Cluster, token_store: str, what: str
) -> None:
    """Each kind of revocation, in both token stores, for every copy and on each node."""
    node, other = (cluster.node(TOKEN_STORE=token_store, ALWAYS_RENEW=True) for _ in range(2))
    issued = node.issue_login("alice", labels=["sid"])
    cluster.clock.advance(1.5)
    copy = other.renew(issued.text, issued.token)
    assert copy
    assert {
        "id": lambda: node.revoke_ids([issued.token.id]),
        "label": lambda: node.revoke_labels(["sid"]),
        "subject": lambda: node.revoke_subject("alice"),
        "realm": lambda: node.revoke_all(),
        "not_before": lambda: node.not_before(cluster.clock.time() + 1),
    }[what]().seq
    assert reason(node.authenticate(issued.text)) == "revoked"
    cluster.step()
    for one in (node, other):
        for text in (issued.text, copy.text):
            assert reason(one.authenticate(text)) == "revoked"
            assert one.renew(text, issued.token) is None


def test_an_embedded_revocation_is_in_force_when_it_returned(host: Cluster) -> None:
    """No step, no barrier: the next request on any process of the host refuses."""
    node, other = (host.node(TOKEN_STORE="cookie") for _ in range(2))
    for number in range(20):
        issued = node.issue_login(f"user-{number}")
        assert other.authenticate(issued.text)
        node.revoke_subject(f"user-{number}")
        assert reason(other.authenticate(issued.text)) == "revoked"
    assert other.revoke_all().confirm().in_force


def test_logging_out_everywhere_leaves_api_tokens(cluster: Cluster) -> None:
    """Login tokens unless asked otherwise; asked, API tokens end as well."""
    node = cluster.node()
    login, api = node.issue_login("alice"), node.issue_api_token("alice", "ci")
    node.revoke_subject("alice")
    node.revoke_all()
    assert reason(node.authenticate(login.text)) == "revoked"
    assert node.authenticate(api.text, "api")
    node.revoke_subject("alice", ("login", "api"))
    assert reason(node.authenticate(api.text, "api")) == "revoked"


def test_a_label_ends_also_what_comes_later(cluster: Cluster) -> None:
    """A login with a label that was ended is not handed out."""
    node = cluster.node()
    node.revoke_labels(["sid"])
    with pytest.raises(RevokedMeanwhile):
        node.issue_login("alice", labels=["sid"])
    assert not [key for key in cluster.shelf.records if key.startswith("token/")]


def test_a_repeated_message_makes_no_second_mark(cluster: Cluster) -> None:
    """The same entry id twice is one entry: logins between the two live."""
    node = cluster.node()
    first = node.revoke_subject("alice", entry_id="message-1")
    issued = node.issue_login("alice")
    again = node.revoke_subject("alice", entry_id="message-1")
    assert again.seq == first.seq
    assert node.authenticate(issued.text)


def test_only_a_token_id_can_be_revoked_by_id(cluster: Cluster) -> None:
    """A text, a subject or a path is an error, not a revocation of nothing."""
    node = cluster.node()
    for wrong in ("alice", "", "../x", node.issue_login("alice").text):
        with pytest.raises(ValueError, match="id"):
            node.revoke_ids([wrong])


# -- issue -----------------------------------------------------------------------------


@pytest.mark.parametrize("token_store", ["session", "cookie"])
def test_a_mark_between_the_password_and_the_login_wins(cluster: Cluster, token_store: str) -> None:
    """What was checked before "log out everywhere" makes no login after it."""
    node, other = (cluster.node(TOKEN_STORE=token_store) for _ in range(2))
    since = node.begin()
    other.revoke_subject("alice")
    with pytest.raises(RevokedMeanwhile):
        node.issue_login("alice", since=since)
    assert not [key for key in cluster.shelf.records if key.startswith("token/")]


def test_a_mark_while_the_record_is_written_wins(cluster: Cluster) -> None:
    """An issue ends like a validation: the record is written where nothing came in between."""
    node, other = cluster.node(), cluster.node()
    node.follower()
    store_of(node).before["append"] = lambda: other.revoke_subject("alice") and None
    with pytest.raises(RevokedMeanwhile):
        node.issue_login("alice")
    assert not [key for key in cluster.shelf.records if key.startswith("token/")]


def test_a_login_right_after_logging_out_everywhere_is_good(cluster: Cluster) -> None:
    """Its number is read from the store, not from a view that is behind."""
    node, other = cluster.node(), cluster.node()
    node.follower()
    other.revoke_all(("login", "api"))
    other.revoke_subject("alice")
    issued = node.issue_login("alice")
    cluster.step()
    for one in (node, other):
        assert one.authenticate(issued.text)


def test_a_login_replaces_another_in_one_step(cluster: Cluster) -> None:
    """The new record, the old one's end and the notice are one transaction."""
    node = cluster.node()
    old = node.issue_login("alice")
    appends = store_of(node).calls["append"]
    new = node.issue_login("alice", replaces=old.token)
    assert store_of(node).calls["append"] == appends + 1
    assert reason(node.authenticate(old.text)) == "revoked"
    assert node.authenticate(new.text)
    assert old.token.record_key not in cluster.shelf.records


def test_a_limit_ends_the_oldest(cluster: Cluster) -> None:
    """The newest logins stay; API tokens and other people's do not count."""
    node = cluster.node(TOKEN_LIMIT=2)
    api, bob = node.issue_api_token("alice", "ci"), node.issue_login("bob")
    issued = []
    for _ in range(4):
        issued.append(node.issue_login("alice"))
        cluster.clock.advance(1)
    assert [bool(node.authenticate(one.text)) for one in issued] == [False, False, True, True]
    assert node.authenticate(api.text, "api")
    assert node.authenticate(bob.text)


def test_a_limit_may_refuse_the_new_login(cluster: Cluster) -> None:
    """The new one is not made, the old ones stay, and no record of it is left."""
    node = cluster.node(TOKEN_LIMIT=1, WHEN_LIMIT="refuse")
    first = node.issue_login("alice")
    with pytest.raises(TokenLimitReached):
        node.issue_login("alice")
    assert node.authenticate(first.text)
    assert [one.id for one in node.tokens_of("alice")] == [first.token.id]


def test_a_login_that_could_not_be_counted_leaves_no_record(cluster: Cluster) -> None:
    """Trouble while the others are counted: no token, and nothing that counts next time."""
    node = cluster.node(TOKEN_LIMIT=1)
    first = node.issue_login("alice")
    for call in ("scan", "append"):
        store_of(node).failing[call] = StoreUnavailable("no")
        with pytest.raises(StoreUnavailable):
            node.issue_login("alice")
        store_of(node).heal()
        assert [one.id for one in node.tokens_of("alice")] == [first.token.id]


def test_nothing_is_issued_without_a_known_store(cluster: Cluster) -> None:
    """A token of no epoch would be refused for ever: better none."""
    node = cluster.node()
    store_of(node).failing["root"] = StoreUnavailable("no")
    node.follower()
    for issue in (
        lambda: node.issue_login("alice", since=0),
        lambda: node.issue_api_token("alice", "ci"),
    ):
        with pytest.raises(StoreUnavailable):
            issue()
    store_of(node).heal()
    node.follower().step()
    assert node.authenticate(node.issue_login("alice").text)


@pytest.mark.parametrize("subject", ["", 5, None, "x" * 1025])
def test_a_subject_is_a_text(cluster: Cluster, subject: Any) -> None:
    """A number would be another subject than its text on some node."""
    with pytest.raises((TypeError, ValueError), match="subject"):
        cluster.node().issue_login(subject)


def test_claims_are_fixed_json(cluster: Cluster) -> None:
    """What JSON cannot hold is an error; what changes later changes no token."""
    node = cluster.node()
    with pytest.raises(TypeError, match="claims"):
        node.issue_login("alice", {"x": object()})
    claims = {"roles": ["a"]}
    issued = node.issue_login("alice", claims)
    claims["roles"].append("admin")
    token = node.authenticate(issued.text)
    assert token
    assert token.claims == {"roles": ["a"]}


def test_the_text_is_shown_by_no_repr(cluster: Cluster) -> None:
    """Logs may hold the ``repr`` of anything: the text is in none."""
    node = cluster.node()
    issued = node.issue_api_token("alice", "ci")
    assert issued.text not in repr(issued) + repr(issued.token)
    assert "hidden" in repr(issued)


def test_the_store_never_holds_a_text(cluster: Cluster) -> None:
    """Neither a token's text nor its signature nor the secret is in the store."""
    node = cluster.node()
    issued = node.issue_login("alice", labels=["sid"])
    node.authenticate(issued.text)
    node.revoke_subject("alice")
    node.follower().step()
    shelf: Shelf = cluster.shelf
    held = repr((shelf.records, shelf.entries, shelf.presence))
    for secret in (issued.text, issued.text.rpartition(".")[2], SECRET):
        assert secret not in held


# -- renew -----------------------------------------------------------------------------


def test_a_login_slides_when_part_of_its_life_has_passed(cluster: Cluster) -> None:
    """Not before ``RENEW_AFTER``; then the expiry moves on and nothing else does."""
    node = cluster.node()
    issued = node.issue_login("alice", {"a": 1}, labels=["sid"])
    cluster.clock.advance(DAY)
    cluster.step()
    assert not node.renewal_due(issued.token)
    assert node.renew(issued.text, issued.token) is None
    cluster.clock.advance(1)
    cluster.step()
    renewed = node.renew(issued.text, issued.token)
    assert renewed
    assert renewed.token.expires_at == int(cluster.clock.time()) + 7 * DAY
    for name in ("id", "subject", "issued_at", "authenticated_at", "since", "epoch", "labels"):
        assert getattr(renewed.token, name) == getattr(issued.token, name)
    assert node.authenticate(issued.text)
    assert node.authenticate(renewed.text)


def test_a_token_in_use_lives_to_its_absolute_end_and_no_longer(cluster: Cluster) -> None:
    """Used each day it is renewed, with its record; at thirty days it is over on each node."""
    node, other = cluster.node(), cluster.node()
    issued = node.issue_login("alice")
    text = issued.text
    for _ in range(29):
        cluster.clock.advance(DAY + 2)
        cluster.step()
        token = other.authenticate(text)
        assert token
        renewed = other.renew(text, token)
        text = renewed.text if renewed else text
        assert (other.authenticate(text).expires_at or 0) <= issued.token.issued_at + 30 * DAY  # type: ignore[union-attr]
    cluster.clock.advance(DAY + SKEW)
    cluster.step()
    assert reason(node.authenticate(text)) == "expired"


def test_renewal_never_creates(cluster: Cluster) -> None:
    """A record that is gone stays gone, whatever this node remembers of it."""
    node = cluster.node()
    issued = node.issue_login("alice")
    cluster.clock.advance(2 * DAY)
    cluster.step()
    assert node.authenticate(issued.text)
    del cluster.shelf.records[issued.token.record_key]
    assert node.renew(issued.text, issued.token) is None
    assert issued.token.record_key not in cluster.shelf.records


def test_renewal_in_flight_loses_to_a_logout(cluster: Cluster) -> None:
    """A copy renewed in the race is covered by the same revocation; no record comes back."""
    node, other = cluster.node(), cluster.node()
    issued = node.issue_login("alice")
    cluster.clock.advance(2 * DAY)
    cluster.step()
    for moment in ("before", "after"):
        hooks = getattr(store_of(node), moment)
        hooks["touch"] = lambda: other.revoke_ids([issued.token.id]) and None
        renewed = node.renew(issued.text, issued.token)
        cluster.step()
        assert renewed is None or reason(node.authenticate(renewed.text)) == "revoked"
        assert issued.token.record_key not in cluster.shelf.records
        hooks.clear()


def test_a_stale_node_renews_nothing(cluster: Cluster) -> None:
    """Not even one that accepts when stale."""
    node = cluster.node(WHEN_STALE="accept", TOKEN_STORE="cookie", RENEW_AFTER=3600)
    issued = node.issue_login("alice")
    cluster.clock.advance(7200)
    assert node.authenticate(issued.text)
    assert node.renew(issued.text, issued.token) is None


def test_always_renewing_writes_no_record_per_request(cluster: Cluster) -> None:
    """The record is touched at most each quarter of ``RENEW_AFTER``, however often is renewed."""
    node = cluster.node(ALWAYS_RENEW=True, MAX_STALENESS=300)
    text = node.issue_login("alice").text
    touches, renewals = store_of(node).calls["touch"], 0
    begun = cluster.clock.time()
    while cluster.clock.time() < begun + DAY:
        cluster.clock.advance(120)
        cluster.step()
        token = node.authenticate(text)
        assert token
        renewed = node.renew(text, token)
        assert renewed
        text, renewals = renewed.text, renewals + 1
    housekeeping = store_of(node).calls["add"]
    assert renewals == 720
    assert store_of(node).calls["touch"] - touches <= 4 + 1 + housekeeping


def test_api_tokens_are_never_renewed(cluster: Cluster) -> None:
    """They have an end of their own, or none."""
    node = cluster.node(ALWAYS_RENEW=True)
    issued = node.issue_api_token("alice", "ci", lifetime=3600)
    assert not node.renewal_due(issued.token)
    assert node.renew(issued.text, issued.token) is None
    cluster.clock.advance(3600 + SKEW)
    cluster.step()
    assert reason(node.authenticate(issued.text, "api")) == "expired"


# -- list ------------------------------------------------------------------------------


def test_lists_show_what_lives(cluster: Cluster) -> None:
    """Own tokens of both kinds, without what was ended by any revocation."""
    node, other = cluster.node(), cluster.node()
    kept = node.issue_login("alice", {"a": 1})
    ended = node.issue_login("alice")
    api = node.issue_api_token("alice", "ci", ["read"], created_by="admin")
    node.issue_login("bob")
    other.revoke_ids([ended.token.id])
    found = {one.id: one for one in node.tokens_of("alice")}
    assert set(found) == {kept.token.id, api.token.id}
    shown = found[api.token.id]
    assert (shown.name, shown.scopes, shown.created_by) == ("ci", ("read",), "admin")
    assert abs((found[kept.token.id].expires_at or 0) - (kept.token.expires_at or 0)) <= 1
    assert len(list(node.tokens())) == 3
    assert node.token(kept.token.id)
    assert node.token(ended.token.id) is None
    other.revoke_subject("alice")
    assert [one.id for one in node.tokens_of("alice")] == [api.token.id]


def test_the_cookie_store_says_that_logins_are_not_recorded(cluster: Cluster) -> None:
    """Its lists show API tokens only, and say so."""
    node = cluster.node(TOKEN_STORE="cookie")
    node.issue_login("alice")
    api = node.issue_api_token("alice", "ci")
    assert not node.records_logins
    assert [one.id for one in node.tokens_of("alice")] == [api.token.id]


def test_last_use_is_coarse_and_may_be_lost(cluster: Cluster) -> None:
    """An API token's last use is noted in a later step, about once an hour."""
    node = cluster.node(RECORD_CACHE=60)
    api = node.issue_api_token("alice", "ci")
    assert node.last_used(api.token.id) is None
    assert node.authenticate(api.text, "api")
    assert store_of(node).calls["put"] == 0
    node.follower().step()
    first = node.last_used(api.token.id)
    assert first == int(cluster.clock.time())
    for _ in range(10):
        cluster.clock.advance(120)
        cluster.step()
        assert node.authenticate(api.text, "api")
    cluster.step()
    assert node.last_used(api.token.id) == first


# -- events and closing ----------------------------------------------------------------


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
