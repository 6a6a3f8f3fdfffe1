"""Revoking: what ends which tokens, and where it is in force."""

from __future__ import annotations

import pytest

from flask_clustertoken.errors import (
    RevokedMeanwhile,
)
from tests.doubles import Cluster, reason


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
