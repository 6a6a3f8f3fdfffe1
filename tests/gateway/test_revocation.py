"""``/revoke``: a service ends a token, and is told once that is true everywhere."""

from __future__ import annotations

import pytest

from flask_clustertoken.clock import SystemClock
from tests.doubles import Cluster, store_of
from tests.gateway.parts import Door, door


@pytest.fixture
def caller(front: Door) -> str:
    return front.api_token("revoke")


def test_a_login_is_ended(front: Door, caller: str) -> None:
    """200 without a body, and nobody accepts it."""
    text, other = front.login(), front.login()
    answer = front.post("/revoke", caller, token=text)

    assert (answer.status, answer.body) == (200, b"")
    assert front.auth(text).status == 401
    assert front.auth(other).status == 200


def test_an_api_token_is_ended(front: Door, caller: str) -> None:
    """Also the caller's own."""
    assert front.post("/revoke", caller, token=caller).status == 200
    assert front.post("/revoke", caller, token=caller).status == 401


@pytest.mark.parametrize("text", ["garbage", "1.0123456789ab.aaaaaaaaaa." + "a" * 43])
def test_what_is_no_token_is_as_it_should_be(front: Door, caller: str, text: str) -> None:
    """RFC 7009, 2.2: an invalid token is no error."""
    assert front.post("/revoke", caller, token=text).status == 200


def test_a_token_that_is_over_is_as_it_should_be(front: Door, caller: str) -> None:
    """Twice is fine, and writes nothing more."""
    text = front.login()
    front.post("/revoke", caller, token=text)
    head = front.authority.store.head()
    assert front.post("/revoke", caller, token=text).status == 200
    assert front.authority.store.head() == head


def test_a_locked_token_is_ended_for_good(front: Door, caller: str) -> None:
    """Or it would be good again with the end of the lock."""
    bearer = front.api_token("read", subject="bob")
    front.authority.locking.lock(subject="bob")
    assert front.post("/revoke", caller, token=bearer).status == 200
    front.authority.locking.unlock(subject="bob")
    assert front.auth(bearer=bearer).status == 401


def test_a_bound_login_is_ended_without_its_proof(front: Door, caller: str) -> None:
    """It is good where its device is, and a service that ends it has no proof of that."""
    bound = front.authority.bind(front.authority.issue_login("alice").token, "A" * 44)
    proofs = [front.authority.proving.proof(bound.token)[0]]
    assert front.authority.authenticate(bound.text, proofs=proofs)
    assert front.post("/revoke", caller, token=bound.text).status == 200
    assert not front.authority.authenticate(bound.text, proofs=proofs)


def test_only_callers_with_the_scope_may_end(front: Door) -> None:
    """Whoever may look may not end."""
    text = front.login()
    assert front.post("/revoke", None, token=text).status == 401
    assert front.post("/revoke", front.api_token("introspect"), token=text).status == 403
    assert front.post("/revoke", front.api_token(), token=text).status == 403
    assert front.auth(text).status == 200


def test_until_every_node_has_answered_it_is_no_200(cluster: Cluster) -> None:
    """Recorded, and said to be: 503 with the time after which it is certain."""
    cluster.clock = SystemClock()  # type: ignore[assignment]
    there = door(cluster, gateway={"GATEWAY_CONFIRM_TIMEOUT": 0.05})
    other = cluster.node()
    cluster.step()
    caller, text = there.api_token("revoke"), there.login()
    assert other.authenticate(text)

    answer = there.post("/revoke", caller, token=text)
    assert (answer.status, answer.json["error"]) == (503, "not_confirmed")
    assert "s at the latest" in answer.json["error_description"]
    assert there.auth(text).status == 401
    assert other.authenticate(text)


def test_a_store_in_trouble_is_a_503(front: Door, caller: str) -> None:
    """Whether it was done is not known: the caller asks again."""
    text = front.login()
    front.auth(text)
    front.post("/revoke", caller, token="garbage")
    store_of(front.authority).cut()
    assert front.post("/revoke", caller, token=text).status == 503


def test_what_cannot_be_judged_is_ended_all_the_same(
    front: Door, caller: str, cluster: Cluster
) -> None:
    """Its signature holds, so its id is known; a caller that cannot be judged ends nothing."""
    text = front.login()
    front.post("/revoke", caller, token="garbage")
    real = front.authority.authenticate
    front.authority.remembered.clear()
    real(caller, "api")
    store = store_of(front.authority)
    store.failing = {"get_many": OSError("once")}
    store.before["get_many"] = store.heal

    store.cut()
    cluster.clock.advance(11)
    assert front.post("/revoke", caller, token=text).status == 503
    store.heal()
    cluster.step()
    assert front.post("/revoke", caller, token=text).status == 200
    assert front.auth(text).status == 401
