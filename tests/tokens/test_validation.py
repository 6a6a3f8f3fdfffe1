"""What callers hand in: a mistake is theirs, and nothing of it reaches the store."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.cluster import NodeRuntime
from flask_clustertoken.errors import RevokedMeanwhile, ValueTooLarge
from flask_clustertoken.revocations import FeedEntry
from flask_clustertoken.stores.base import NewEntry
from flask_clustertoken.tokens.token import Claims
from tests.doubles import DAY, Cluster, reason, store_of

Call = Callable[[TokenAuthority, Any], object]

WRONG: list[tuple[str, Call, list[Any]]] = [
    (
        "kinds of revoke_subject",
        lambda node, bad: node.revoke_subject("alice", bad),
        ["login", "api", (), ["bogus"], ["login", 5], [["login"]], [None]],
    ),
    (
        "kinds of revoke_all",
        lambda node, bad: node.revoke_all(bad),
        ["login", (), ("bogus",), ("login", "bogus")],
    ),
    ("kinds of restored", lambda node, bad: node.restored(bad), ["login", ()]),
    (
        "subject",
        lambda node, bad: node.revoke_subject(bad),
        ["", 42, None, b"alice", "x" * 1025, "\ud800"],
    ),
    ("labels", lambda node, bad: node.revoke_labels(bad), ["sid", [""], [5], [None], ["\ud800"]]),
    (
        "not_before",
        lambda node, bad: node.not_before(bad),
        [inf, -inf, nan, -1, True, "5", None, 1_800_000_000_000],
    ),
    (
        "authenticated_at",
        lambda node, bad: node.issue_login("alice", authenticated_at=bad),
        [inf, nan, -1, True, "5", 1_800_000_000_000],
    ),
    ("since", lambda node, bad: node.issue_login("alice", since=bad), ["x", True, 1.5]),
    ("labels of a login", lambda node, bad: node.issue_login("alice", labels=bad), ["sid", [5]]),
    (
        "name of an API token",
        lambda node, bad: node.issue_api_token("alice", bad),
        [None, 5, "", "x" * 1025],
    ),
    (
        "scopes",
        lambda node, bad: node.issue_api_token("alice", "ci", bad),
        ["read", [1], [""], ["a b"], ['a"b'], ["a\nb"]],
    ),
    (
        "lifetime",
        lambda node, bad: node.issue_api_token("alice", "ci", lifetime=bad),
        [-5, 0, 0.5, True, inf, nan, "1"],
    ),
]


@pytest.mark.parametrize(
    ("call", "bad"),
    [
        pytest.param(call, bad, id=f"{what}: {bad!r:.20}")
        for what, call, all_bad in WRONG
        for bad in all_bad
    ],
)
def test_a_wrong_argument_writes_nothing(cluster: Cluster, call: Call, bad: Any) -> None:
    """It is an error of whoever made it; every node goes on, and so does this one."""
    node, other = cluster.node(), cluster.node()
    issued = node.issue_login("alice")
    cluster.step()
    head, records = cluster.shelf.head, set(cluster.shelf.records)

    with pytest.raises((TypeError, ValueError)):
        call(node, bad)

    assert cluster.shelf.head == head
    assert set(cluster.shelf.records) == records
    cluster.clock.advance(4)
    cluster.step()
    for one in (node, other):
        assert one.authenticate(issued.text)
        assert one.readiness().fresh


def test_a_time_in_the_future_is_taken_where_it_is_meant(cluster: Cluster) -> None:
    """An operator may end logins that are still to come."""
    node = cluster.node()
    node.not_before(cluster.clock.time() + DAY, ahead=True)
    cluster.clock.advance(60)
    cluster.step()
    with pytest.raises(RevokedMeanwhile):
        node.issue_login("alice")
    cluster.clock.advance(DAY)
    node.follower().step()
    assert node.authenticate(node.issue_login("alice").text)


@pytest.mark.parametrize("token_store", ["session", "cookie"])
def test_more_than_a_store_can_carry_is_refused_on_every_store(
    cluster: Cluster, token_store: str
) -> None:
    """An app that works on one host works on the cluster too; nothing was written."""
    node = cluster.node(TOKEN_STORE=token_store)
    with pytest.raises(ValueTooLarge, match="claims"):
        node.issue_login("alice", {"avatar": "x" * 300_000})
    assert not cluster.shelf.records


@pytest.mark.parametrize(
    "body",
    [
        b'{"format":1,"kind":"realm","kinds":["l","o"]}',
        b'{"format":1,"kind":"not_before","kinds":["login"],"value":Infinity}',
        b'{"format":1,"kind":"realm","kinds":["login"],"at":NaN}',
        b'{"format":1,"kind":"swept","value":1e999}',
        b'{"format":1,"kind":"ids","digests":["' + b"f" * 40 + b'"]}',
        b'{"format":1,"kind":"lifetime","value":"x"}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_an_entry_that_cannot_be_learnt_makes_stale_and_nothing_worse(
    cluster: Cluster, body: bytes
) -> None:
    """Whoever wrote it: no exception reaches a request, and the reason is said."""
    node = cluster.node()
    issued = node.issue_login("alice")
    store_of(node).append([NewEntry("odd", body, None)])
    cluster.clock.advance(4)
    node.follower().step()
    assert reason(node.authenticate(issued.text)) == "stale"
    told = node.readiness()
    assert not told.fresh
    assert "cannot be read" in told.trouble
    newcomer = cluster.node()
    assert "cannot be read" in newcomer.readiness().trouble
    assert reason(newcomer.authenticate(issued.text)) == "stale"


def test_being_ready_is_never_an_exception(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails is said, and means: not ready."""

    def broken(self: Any) -> Any:
        raise KeyError("odd")

    node = cluster.node()
    monkeypatch.setattr(NodeRuntime, "follower", broken)
    told = node.readiness()
    assert (told.fresh, told.trouble) == (False, "'odd'")


def nested() -> Claims:
    return Claims({"roles": ["reader", {"at": ["home"]}], "tenant": {"name": "x", "tags": ["a"]}})


@pytest.mark.parametrize(
    "change",
    [
        lambda claims: claims.update(a=1),
        lambda claims: claims["roles"].append("admin"),
        lambda claims: claims["roles"].__setitem__(0, "admin"),
        lambda claims: claims["roles"][1]["at"].extend(["away"]),
        lambda claims: claims["tenant"].__setitem__("name", "y"),
        lambda claims: claims["tenant"]["tags"].sort(),
        lambda claims: claims["tenant"].pop("name"),
        lambda claims: claims["roles"].__iadd__(["admin"]),
    ],
)
def test_nothing_within_claims_can_be_changed(change: Callable[[Any], object]) -> None:
    """One token serves many requests, and a renewal signs what is in it."""
    claims = nested()
    with pytest.raises(TypeError, match="copy"):
        change(claims)
    assert claims == nested()


def test_claims_are_plain_data_otherwise() -> None:
    """They compare, print as JSON, and a deep copy or a pickle is anybody's own."""
    claims = nested()
    assert claims["roles"][0] == "reader"
    assert claims == json.loads(json.dumps(claims))
    for mine in (copy.deepcopy(claims), pickle.loads(pickle.dumps(claims))):
        mine["roles"].append("admin")
        mine["tenant"]["tags"].append("b")
        assert type(mine) is dict
        assert type(mine["tenant"]["tags"]) is list
    assert claims == nested()


@pytest.mark.parametrize("token_store", ["session", "cookie"])
def test_carrying_a_login_on_does_not_make_it_longer(cluster: Cluster, token_store: str) -> None:
    """A login under another id ends when the first one would have: a thief cannot keep it."""
    days = {"LIFETIME": 7 * DAY, "RENEW_AFTER": DAY, "ABSOLUTE_LIFETIME": 30 * DAY}
    node = cluster.node(TOKEN_STORE=token_store, **days)
    issued = node.issue_login("alice")
    began = cluster.clock.time()
    lived = 0
    for day in range(1, 60):
        cluster.clock.advance(DAY)
        node.follower().step()
        found = node.authenticate(issued.text)
        if not found:
            break
        lived = day
        if day % 3 == 0:
            issued = node.issue_login("alice", carries_on=found)
        else:
            issued = node.renew(issued.text, found) or issued
        assert issued.token.expires_at is not None
        assert issued.token.expires_at <= began + 30 * DAY
    assert lived == 30


def test_a_mark_names_what_it_ends(cluster: Cluster) -> None:
    """Both kinds at once end both."""
    node = cluster.node()
    login, api = node.issue_login("alice"), node.issue_api_token("alice", "ci")
    node.revoke_subject("alice", ["login", "api"])
    assert reason(node.authenticate(login.text)) == "revoked"
    assert reason(node.authenticate(api.text, "api")) == "revoked"
    assert FeedEntry.decode(cluster.shelf.entries[-1].body).kinds == ("login", "api")
