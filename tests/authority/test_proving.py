"""Bound logins between nodes: one registration wins, and the unbound login ends on each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.authority.proving import CHALLENGE_LIFE, OLD_LOGIN_GRACE, UNBOUND_GRACE
from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.cluster import Node
from flask_clustertoken.errors import (
    AlreadyBound,
    NodesTooOld,
    RevokedMeanwhile,
    StoreUnavailable,
)
from flask_clustertoken.settings.limits import DAY
from flask_clustertoken.tokens import Refusal, Token, wire
from tests.doubles import Cluster, reason, store_of

KEY, OTHER = "A" * 44, "B" * 44


@pytest.fixture(params=["session", "cookie"])
def token_store(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.close()


@pytest.fixture
def nodes(cluster: Cluster, token_store: str) -> list[TokenAuthority]:
    made = [cluster.node(TOKEN_STORE=token_store) for _ in range(2)]
    cluster.step()
    return made


def proof_of(node: TokenAuthority, token: Token) -> list[str]:
    return [node.proving.proof(token)[0]]


def test_a_bound_login_needs_its_proof_on_each_node(
    cluster: Cluster, nodes: list[TokenAuthority]
) -> None:
    one = nodes[0]
    bound = one.bind(one.issue_login("alice").token, KEY)
    cluster.step()
    for node in nodes:
        assert reason(node.authenticate(bound.text)) == "unproven"
        assert node.authenticate(bound.text, proofs=proof_of(one, bound.token))


def test_of_two_nodes_that_bind_one_login_one_wins(nodes: list[TokenAuthority]) -> None:
    """The second one's step comes in between the first one's look and its step."""
    one, two = nodes
    login = one.issue_login("alice").token
    store_of(one).before["append"] = lambda: two.bind(login, OTHER)

    with pytest.raises(AlreadyBound):
        one.bind(login, KEY)


def test_a_revocation_in_between_wins(nodes: list[TokenAuthority]) -> None:
    one, two = nodes
    login = one.issue_login("alice").token
    store_of(one).before["append"] = lambda: two.revoke_subject("alice")

    with pytest.raises(RevokedMeanwhile):
        one.bind(login, KEY)


def test_a_log_out_in_between_wins(cluster: Cluster, nodes: list[TokenAuthority]) -> None:
    """By the login's own id, which the bound one does not bear: it stands in that very step."""
    one, two = nodes
    issued = one.issue_login("alice")
    cluster.step()
    login = two.authenticate(issued.text)
    assert login
    store_of(one).before["append"] = lambda: two.end(login)

    with pytest.raises(RevokedMeanwhile):
        one.bind(issued.token, KEY)


def test_an_unanswered_registration_leaves_the_login_good(
    cluster: Cluster, nodes: list[TokenAuthority]
) -> None:
    """It may have been carried out; the login goes on until somebody comes with the new pair."""
    one, two = nodes
    issued = one.issue_login("alice")

    def lost() -> None:
        raise StoreUnavailable("no answer")

    store_of(one).after["append"] = lost
    with pytest.raises(StoreUnavailable):
        one.bind(issued.token, KEY)
    cluster.clock.advance(DAY)
    cluster.step()
    assert one.authenticate(issued.text)
    assert two.authenticate(issued.text)


def test_the_unbound_login_ends_everywhere_behind_the_first_use(
    cluster: Cluster, nodes: list[TokenAuthority]
) -> None:
    one, two = nodes
    issued = one.issue_login("alice")
    cluster.step()
    assert two.authenticate(issued.text)
    bound = one.bind(issued.token, KEY)
    assert two.authenticate(bound.text, proofs=proof_of(one, bound.token))
    cluster.step()
    assert one.authenticate(issued.text)

    cluster.clock.advance(OLD_LOGIN_GRACE)
    cluster.step()
    cluster.step()
    for node in nodes:
        assert reason(node.authenticate(issued.text)) == "revoked"
        assert node.authenticate(bound.text, proofs=proof_of(one, bound.token))


def test_the_end_is_tried_again_where_the_store_was_in_trouble(
    cluster: Cluster, nodes: list[TokenAuthority]
) -> None:
    """And the owner is not refused for it."""
    one, two = nodes
    issued = one.issue_login("alice")
    bound = one.bind(issued.token, KEY)
    proofs = proof_of(one, bound.token)
    cluster.clock.advance(CHALLENGE_LIFE + SKEW)
    cluster.step()
    store_of(one).failing["append"] = StoreUnavailable("full")
    assert one.authenticate(bound.text, proofs=proofs)
    assert one.authenticate(issued.text)

    store_of(one).heal()
    cluster.clock.advance(OLD_LOGIN_GRACE)
    cluster.step()
    cluster.step()
    assert reason(two.authenticate(issued.text)) == "revoked"


def test_a_node_that_meets_it_late_writes_nothing(
    cluster: Cluster, nodes: list[TokenAuthority], token_store: str
) -> None:
    """What remembers the end may be over by then: what is left is a read, or the view."""
    one = nodes[0]
    issued = one.issue_login("alice")
    bound = one.bind(issued.token, KEY)
    cluster.clock.advance(CHALLENGE_LIFE + SKEW)
    cluster.step()
    assert one.authenticate(bound.text, proofs=proof_of(one, bound.token))
    for _ in range(20):
        cluster.clock.advance(3600)
        cluster.step()
    late = cluster.node(TOKEN_STORE=token_store)
    late.follower().step()
    head, appended = one.store.head(), store_of(late).calls["append"]

    assert late.authenticate(bound.text, proofs=proof_of(one, bound.token))
    assert (one.store.head(), store_of(late).calls["append"]) == (head, appended)
    assert not late.authenticate(issued.text)


@pytest.mark.parametrize("ahead", [-50.0, 50.0])
def test_clocks_may_differ(cluster: Cluster, token_store: str, ahead: float) -> None:
    """A node that is behind or ahead takes the proof of another one for as long as it is one."""
    clock = ManualClock(cluster.clock.time() + ahead)
    one, two = cluster.node(TOKEN_STORE=token_store), cluster.node(clock, TOKEN_STORE=token_store)
    cluster.step()
    bound = one.bind(one.issue_login("alice").token, KEY)
    cluster.step()
    proofs = proof_of(one, bound.token)
    for _ in range(29):
        assert two.authenticate(bound.text, proofs=proofs)
        for each in (cluster.clock, clock):
            each.advance(10)
        cluster.step()
    for each in (cluster.clock, clock):
        each.advance(10 + SKEW + 60)
    cluster.step()
    assert reason(two.authenticate(bound.text, proofs=proofs)) == "unproven"


def test_while_a_node_reads_no_bound_tokens_nobody_binds(nodes: list[TokenAuthority]) -> None:
    """It would show 503 to whoever did, so nothing is written."""
    one = nodes[0]
    login = one.issue_login("alice").token
    before = Node("before", "web9", 7, reads_tokens=1)
    store_of(one).announce(before.id, before.encode())

    with pytest.raises(NodesTooOld, match="web9"):
        one.bind(login, KEY)
    assert not list(one.store.scan("bound/"))


def test_a_version_of_before_does_not_accept_what_it_cannot_judge(
    nodes: list[TokenAuthority], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form is another one: stale, and the cookie is kept; never a login without its proof."""
    one, two = nodes
    bound = one.bind(one.issue_login("alice").token, KEY)
    monkeypatch.setattr(wire, "VERSION", 1)
    found = two.authenticate(bound.text, proofs=proof_of(one, bound.token))
    assert isinstance(found, Refusal)
    assert (found.reason, found.garbled) == ("stale", False)


def test_whoever_lists_sees_what_is_bound(nodes: list[TokenAuthority]) -> None:
    one, two = nodes
    bound = one.bind(one.issue_login("alice").token, KEY)
    if one.records_logins:
        assert {one.id: one.bound for one in two.tokens_of("alice")}[bound.token.id]


def test_a_login_may_be_new_by_any_clock(cluster: Cluster, token_store: str) -> None:
    """Where logins have to be bound: nobody is thrown out for another node's clock."""
    clock = ManualClock(cluster.clock.time() + 50)
    given = {"TOKEN_STORE": token_store, "DEVICE_BOUND": "require"}
    one, two = cluster.node(**given), cluster.node(clock, **given)
    cluster.step()
    text = one.issue_login("alice").text
    cluster.step()
    assert two.authenticate(text)
    for each in (cluster.clock, clock):
        each.advance(UNBOUND_GRACE + SKEW)
    cluster.step()
    assert reason(one.authenticate(text)) == "unbound"
    assert reason(two.authenticate(text)) == "unbound"


@pytest.fixture
def offering(cluster: Cluster, token_store: str) -> list[TokenAuthority]:
    """Nodes of an app that offers to bind logins."""
    made = [cluster.node(TOKEN_STORE=token_store, DEVICE_BOUND="offer") for _ in range(2)]
    cluster.step()
    return made


ENDS: dict[str, Callable[[TokenAuthority, Token], object]] = {
    "logout": lambda node, login: node.end(login),
    "by its id": lambda node, login: node.revoke_ids([login.id]),
    "another login in its place": lambda node, login: node.issue_login("bob", replaces=login),
}


@pytest.mark.parametrize("way", ENDS)
def test_a_log_out_behind_the_registration_ends_what_the_browser_is_yet_to_get(
    cluster: Cluster, offering: list[TokenAuthority], way: str
) -> None:
    """It was sent with the old cookie, and the answer with the new one comes after its own."""
    one, other = offering
    login = one.issue_login("alice")
    bound = one.bind(login.token, KEY)
    cluster.step()
    ENDS[way](other, login.token)
    cluster.step()
    for node in offering:
        assert reason(node.authenticate(login.text)) == "revoked"
        proofs = proof_of(one, bound.token)
        assert reason(node.authenticate(bound.text, proofs=proofs)) == "revoked"
    assert [token.id for token in one.tokens_of("alice")] == []


@pytest.mark.parametrize("way", ENDS)
def test_where_the_successor_cannot_be_looked_for_the_log_out_is_no_success(
    offering: list[TokenAuthority], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried again, it ends both."""
    one, other = offering
    login = one.issue_login("alice")
    bound = one.bind(login.token, KEY)

    def cut(keys: object) -> object:
        raise StoreUnavailable("the line is cut")

    with monkeypatch.context() as patched:
        patched.setattr(store_of(other), "get_many", cut)
        with pytest.raises(StoreUnavailable):
            ENDS[way](other, login.token)
    other.revoke_ids([login.token.id])
    assert reason(other.authenticate(bound.text, proofs=proof_of(one, bound.token))) == "revoked"


@pytest.mark.parametrize("way", ["logout", "another login in its place"])
def test_a_log_out_by_the_bound_login_ends_the_unbound_one_at_once(
    cluster: Cluster, offering: list[TokenAuthority], way: str
) -> None:
    """And not five seconds later, by a process that may be gone then."""
    one, other = offering
    login = one.issue_login("alice")
    bound = one.bind(login.token, KEY)
    cluster.step()
    assert other.authenticate(bound.text, proofs=proof_of(one, bound.token))
    ENDS[way](other, bound.token)
    cluster.step()
    for node in offering:
        assert reason(node.authenticate(login.text)) == "revoked"
