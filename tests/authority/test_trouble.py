"""Trouble is not absence: whatever raises wherever, nobody is authenticated by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_clustertoken.errors import (
    Conflict,
    NotAnnounced,
    StoreDamaged,
    StoreNotOpen,
    StoreUnavailable,
)
from flask_clustertoken.tokens import Refusal
from tests.doubles import CALLS, DAY, Cluster, reason, store_of

ERRORS = [
    StoreUnavailable("no"),
    StoreDamaged("torn"),
    StoreNotOpen("sealed"),
    NotAnnounced("gone"),
    Conflict("key"),
    RuntimeError("a bug of a driver"),
    OSError(28, "no space left"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "torn"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("embedded", [False, True], ids=["remote", "embedded"])
def test_no_exception_of_the_store_lets_anybody_in(
    cluster: Cluster, host: Cluster, call: str, error: Exception, embedded: bool
) -> None:
    """Each call of the store raising each error: a revoked, a forged and an old text stay out."""
    cluster = host if embedded else cluster
    node, other = cluster.node(), cluster.node()
    revoked, ended = node.issue_login("alice"), node.issue_login("bob")
    old = node.issue_login("carol").text
    other.revoke_subject("alice")
    other.revoke_ids([ended.token.id])
    cluster.clock.advance(7 * DAY + 120)
    store_of(other).failing = {call: error}
    for text in (revoked.text, ended.text, old, old[:-2] + "AA", "rubbish"):
        for strict in (False, True):
            _stays_out(other.authenticate, text, "login", strict=strict)
            _stays_out(other.authenticate, text, "api", strict=strict)
        _stays_out(other.renew, text, revoked.token)


def _stays_out(look: Callable[..., Any], *args: Any, **options: Any) -> None:
    try:
        found = look(*args, **options)
    except Exception:
        return
    assert not found


@pytest.mark.parametrize("error", ERRORS[:4], ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("call", CALLS)
def test_trouble_of_the_store_is_an_answer(cluster: Cluster, call: str, error: Exception) -> None:
    """``authenticate`` never raises for a store, and never says "revoked" for its trouble."""
    node = cluster.node()
    issued = node.issue_login("alice")
    other = cluster.node()
    store_of(other).failing = {call: error}
    for _ in range(3):
        for strict in (False, True):
            assert reason(other.authenticate(issued.text, strict=strict)) in ("", "stale")
        cluster.clock.advance(4)
    cluster.clock.advance(10)
    assert reason(other.authenticate(issued.text)) == "stale"


def test_the_cause_is_kept(cluster: Cluster) -> None:
    """Who logs the refusal finds the driver's error; who answers the request does not need it."""
    node = cluster.node()
    issued = node.issue_login("alice")
    error = StoreUnavailable("no answer within 5 s")
    store_of(node).failing["get_many"] = error
    found = node.authenticate(issued.text)
    assert isinstance(found, Refusal)
    assert found.cause is error
    assert issued.text not in repr(found)


@pytest.mark.parametrize("call", ["append", "head"])
def test_a_login_that_met_trouble_is_not_handed_out(cluster: Cluster, call: str) -> None:
    """Whatever fails on the way, the caller gets the error and no token."""
    node = cluster.node()
    node.follower()
    store_of(node).failing[call] = StoreUnavailable("no")
    with pytest.raises(StoreUnavailable):
        node.issue_login("alice")


def test_a_revocation_that_was_not_acknowledged_is_an_error(cluster: Cluster) -> None:
    """ "Log out" never looks as if it had worked."""
    node = cluster.node()
    issued = node.issue_login("alice")
    store_of(node).failing["append"] = StoreUnavailable("no")
    for revoke in (
        lambda: node.revoke_ids([issued.token.id]),
        lambda: node.revoke_labels(["x"]),
        lambda: node.revoke_subject("alice"),
        lambda: node.revoke_all(),
        lambda: node.not_before(5.0),
    ):
        with pytest.raises(StoreUnavailable):
            revoke()


def test_a_damaged_record_is_no_token(cluster: Cluster) -> None:
    """Torn bytes under a token's key make no token, and no exception."""
    node = cluster.node()
    issued = node.issue_login("alice")
    for torn in (b"", b"\xff\xff", b"[]", b'{"format":1}', b"null"):
        store_of(node).put(issued.token.record_key, torn, None)
        assert reason(node.authenticate(issued.text)) == "invalid"
