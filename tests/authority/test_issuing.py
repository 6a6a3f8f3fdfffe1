"""Issuing: a revocation that arrives while a token is made wins, and nothing is left behind."""

from __future__ import annotations

from typing import Any

import pytest

from flask_clustertoken.errors import (
    RevokedMeanwhile,
    StoreUnavailable,
    TokenLimitReached,
)
from flask_clustertoken.stores.memory import Shelf
from tests.doubles import SECRET, Cluster, reason, store_of


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
    """The new record, the old one's end and the feed entry are one transaction."""
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
