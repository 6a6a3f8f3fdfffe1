"""What a list says of a login's end holds, whoever of the realm issued, renewed and lists it."""

from __future__ import annotations

import json

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import SKEW
from flask_clustertoken.stores.base import Record
from flask_clustertoken.tokens import Token
from tests.doubles import DAY, Cluster

HOUR = 3600


@pytest.fixture
def deployments(cluster: Cluster) -> list[TokenAuthority]:
    """Of one realm; how eagerly they renew is each one's own business."""
    return [
        cluster.node(DEPLOYMENT="shop", RENEW_AFTER=DAY, MAX_STALENESS=300),
        cluster.node(DEPLOYMENT="office", RENEW_AFTER=HOUR, MAX_STALENESS=300),
    ]


def listed(node: TokenAuthority, token: Token) -> int:
    """The expiry by both ways of listing."""
    (one,) = node.tokens_of(token.subject)
    shown = node.token(token.id)
    assert shown is not None
    assert one.expires_at == shown.expires_at
    assert one.expires_at is not None
    return one.expires_at


@pytest.mark.parametrize("issuer", [0, 1])
def test_another_deployment_lists_the_expiry_that_was_issued(
    deployments: list[TokenAuthority], issuer: int
) -> None:
    """It was off by the difference of what the two set aside for renewals: hours."""
    token = deployments[issuer].issue_login("alice").token

    assert [listed(node, token) for node in deployments] == [token.expires_at] * 2


@pytest.mark.parametrize("issuer", [0, 1])
def test_another_deployment_lists_the_expiry_that_was_renewed(
    cluster: Cluster, deployments: list[TokenAuthority], issuer: int
) -> None:
    """Issued by one, renewed by the other, listed by both: the same, and the renewed one."""
    issued = deployments[issuer].issue_login("alice")
    for _ in range(26 * 12):
        cluster.clock.advance(300)
        cluster.step()

    renewed = deployments[1 - issuer].renew(issued.text, issued.token)

    assert renewed is not None
    assert renewed.token.expires_at != issued.token.expires_at
    assert [listed(node, issued.token) for node in deployments] == [renewed.token.expires_at] * 2


def test_a_renewal_that_wrote_nothing_makes_the_list_too_early_only(cluster: Cluster) -> None:
    """The login lives at least until what is listed, and a quarter of ``RENEW_AFTER`` longer at
    most; another deployment says the same."""
    eager = cluster.node(ALWAYS_RENEW=True, RENEW_AFTER=DAY, MAX_STALENESS=300)
    other = cluster.node(DEPLOYMENT="office", RENEW_AFTER=HOUR, MAX_STALENESS=300)
    issued = eager.issue_login("alice")
    text, token = issued.text, issued.token
    for _ in range(3 * 24 * 12):
        cluster.clock.advance(300)
        cluster.step()
        renewed = eager.renew(text, token)
        assert renewed is not None
        text, token = renewed.text, renewed.token

        shown = listed(eager, token)
        assert shown == listed(other, token)
        assert token.expires_at is not None
        assert shown <= token.expires_at <= shown + DAY // 4


def test_a_record_of_before_the_spare_was_written_down_is_listed(
    cluster: Cluster, deployments: list[TokenAuthority]
) -> None:
    """By what the reader sets aside itself: right where its writer had the same setting."""
    node = deployments[0]
    token = node.issue_login("alice").token
    record = cluster.shelf.records[token.record_key]
    body = json.loads(record.value)
    body.pop("spare", None)
    cluster.shelf.records[token.record_key] = Record(json.dumps(body).encode(), record.expires_at)

    assert token.expires_at is not None
    assert record.expires_at == token.expires_at + DAY / 4 + SKEW
    assert listed(node, token) == token.expires_at
