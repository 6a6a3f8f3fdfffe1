"""The verdict: one answer to "does it stand?", and each part can be made and asked alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from flask_clustertoken.authority.authentication import Authentication
from flask_clustertoken.authority.issuing import Issuing
from flask_clustertoken.authority.lifetimes import Lifetimes
from flask_clustertoken.authority.listing import Listing
from flask_clustertoken.authority.proving import Proving
from flask_clustertoken.authority.renewal import Renewal
from flask_clustertoken.authority.reuse import Reuse
from flask_clustertoken.authority.revoking import Revoking
from flask_clustertoken.authority.usage import Usage
from flask_clustertoken.authority.verdict import Verdict
from flask_clustertoken.authority.writing import Writing
from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.cluster import NodeRuntime, Publisher
from flask_clustertoken.errors import StoreError, StoreUnavailable
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.memory import MemoryStore, Shelf
from flask_clustertoken.tokens import Refusal, Token
from tests.doubles import SECRET, Cluster, store_of

#: What may have happened to a token and to the node that is asked about it.
STATES = [
    state
    for state in product(
        ("refuse", "accept"),  # WHEN_STALE
        (False, True),  # the text was seen before
        ("", "unheard", "heard"),  # a revocation
        (False, True),  # the store is replaced
        (False, True),  # the store is cut off
        (0.0, 9.9, 10.0, 11.0),  # seconds that passed
    )
    # (Of another store it is at the first sight, before anybody is asked.)
    if not (state[3] and state[4])
]


def outcome(ask: Callable[[], Token | Refusal | None]) -> Any:
    """What came of it: the kind of trouble, or reason and detail, or that it stands."""
    try:
        found = ask()
    except StoreError as error:
        return type(error)
    return (found.reason, found.detail) if isinstance(found, Refusal) else "stands"


def judged(remote: bool, state: tuple[Any, ...], *, by_the_verdict: bool) -> Any:
    """The outcome for a token in *state*, in a world made for this one question."""
    when_stale, seen, revoked, replaced, cut, passed = state
    cluster = Cluster(remote=remote)
    node, other = (
        cluster.node(TOKEN_STORE="cookie", MAX_STALENESS=10, WHEN_STALE=when_stale)
        for _ in range(2)
    )
    try:
        issued = other.issue_login("alice")
        cluster.step()
        if seen:
            assert node.authenticate(issued.text)
        if revoked:
            other.revoke_subject("alice")
        if revoked == "heard":
            node.follower().follow()
        if replaced:
            node.runtime.epoch = "another"
            node.authentication.clear()
        if cut:
            store_of(node).cut()
        cluster.clock.advance(passed)
        if by_the_verdict:
            return outcome(lambda: node.verdict.of(issued.token))
        return outcome(lambda: node.authentication.judge_once(issued.text, "login", strict=False))
    finally:
        cluster.close()


@pytest.mark.parametrize("remote", [True, False])
def test_what_each_request_writes_out_by_hand_is_the_verdict(remote: bool) -> None:
    """Whatever happened, to a text that was seen or not: both say the same, in the same words."""
    found = {}
    for state in STATES:
        found[state] = judged(remote, state, by_the_verdict=True)
        assert judged(remote, state, by_the_verdict=False) == found[state], state
    said = {
        one if isinstance(one, str) else one[0] for one in found.values() if one != StoreUnavailable
    }
    assert said == {"stands", "revoked", "stale"}


@pytest.mark.parametrize("by", [-SKEW - 1, -SKEW + 1, 0.0, SKEW - 1, SKEW + 1])
def test_the_clock_of_each_request_is_the_followers(cluster: Cluster, by: float) -> None:
    """The comparison that each request writes out by hand is :meth:`Follower.steady_at`."""
    node = cluster.node(TOKEN_STORE="cookie")
    text = node.issue_login("alice").text
    cluster.clock.set_wall(by)

    accepted = bool(node.authentication.judge_once(text, "login", strict=False))

    assert accepted is node.follower().clock_steady is (abs(by) <= SKEW)


def test_each_part_is_made_and_used_alone() -> None:
    """Of what its constructor names, without the whole that offers it."""
    clock = ManualClock()
    settings = Settings.from_mapping(
        {"CLUSTERTOKEN_STORE": "memory:", "CLUSTERTOKEN_SECRET": SECRET}
    )
    store = MemoryStore(Shelf(), clock=clock)
    runtime = NodeRuntime(settings, clock=clock, store=store, threaded=False)
    verdict, lifetimes, usage = Verdict(runtime), Lifetimes(settings, clock), Usage(runtime)
    listing = Listing(runtime, verdict, lifetimes)
    revoking = Revoking(Publisher(runtime), verdict, lifetimes)
    proving = Proving(runtime, revoking, lifetimes)
    reuse = Reuse(runtime, lambda token_id: revoking.revoke_ids([token_id]))
    authentication = Authentication(runtime, verdict, lifetimes, usage, proving, reuse)
    renewal = Renewal(runtime, authentication, lifetimes, reuse)
    writing = Writing(runtime, revoking, verdict, lifetimes)
    issuing = Issuing(runtime, writing, authentication, revoking, listing, lifetimes)
    try:
        issued = issuing.issue_login("alice")
        assert authentication.authenticate(issued.text) == issued.token
        assert [one.id for one in listing.tokens_of("alice")] == [issued.token.id]
        clock.advance(settings.renew_after + 1)
        assert renewal.renewal_due(issued.token)
        authentication.authenticate(issued.text)
        assert renewal.renew(issued.text, issued.token) is not None
        usage.note(issued.token.id)
        assert usage.last_used(issued.token.id) == int(clock.time())
        assert revoking.end(issued.token).confirm()
        assert verdict.of(issued.token) is not None
        assert not authentication.authenticate(issued.text)
    finally:
        runtime.close()
