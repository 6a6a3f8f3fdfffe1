"""Listing: the recorded tokens that live, and when an API token was last used."""

from __future__ import annotations

from tests.doubles import Cluster, store_of


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
