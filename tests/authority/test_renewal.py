"""Renewal: an expiry moves on while a login is used; nothing is created, nothing revived."""

from __future__ import annotations

from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.settings import STALENESS_LIMIT
from tests.doubles import DAY, Cluster, reason, store_of


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
    leases = store_of(node).calls["add"]
    assert renewals == 720
    assert store_of(node).calls["touch"] - touches <= 4 + 1 + leases


def test_api_tokens_are_never_renewed(cluster: Cluster) -> None:
    """They have an end of their own, or none."""
    node = cluster.node(ALWAYS_RENEW=True)
    issued = node.issue_api_token("alice", "ci", lifetime=3600)
    assert not node.renewal_due(issued.token)
    assert node.renew(issued.text, issued.token) is None
    cluster.clock.advance(3600 + SKEW)
    cluster.step()
    assert reason(node.authenticate(issued.text, "api")) == "expired"


class Apart(ManualClock):
    """A host's clock that differs from the store's, *true*, by so many seconds."""

    def __init__(self, true: ManualClock, by: float) -> None:
        super().__init__()
        self._true, self._by = true, by

    def time(self) -> float:
        return self._true.time() + self._by

    def monotonic(self) -> float:
        return self._true.monotonic()


def test_a_copy_that_was_made_in_the_last_moment_outlives_no_mark(cluster: Cluster) -> None:
    """By a node as stale as may be, whose clock is ahead, judged by one whose clock is behind: the
    revocation is remembered until the very last copy is over."""
    settings = {"TOKEN_STORE": "cookie", "MAX_STALENESS": STALENESS_LIMIT, "ALWAYS_RENEW": True}
    lives = {"LIFETIME": 7200, "RENEW_AFTER": 600, **settings}
    ahead = cluster.node(Apart(cluster.clock, SKEW - 1), **lives)  # type: ignore[arg-type]
    behind = cluster.node(Apart(cluster.clock, 1 - SKEW), **lives)  # type: ignore[arg-type]
    text = ahead.issue_login("alice").text
    cluster.clock.advance(700)
    cluster.step()
    behind.revoke_subject("alice")
    cluster.clock.advance(STALENESS_LIMIT - 1)
    token = ahead.authenticate(text)
    assert token
    copy = ahead.renew(text, token)
    assert copy
    while reason(behind.authenticate(copy.text)) != "expired":
        assert reason(behind.authenticate(copy.text)) == "revoked"
        cluster.clock.advance(20)
        cluster.step(behind)
        for _ in range(64):  # (each contact forgets a part of what is over)
            behind.view.expire(behind.follower().past())
