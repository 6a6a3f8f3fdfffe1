"""What the tokens of a login have to say, and what is refused whoever signed it."""

from __future__ import annotations

from typing import Any

import pytest
from joserfc.jwk import RSAKey

from tests.keycloak.flow import Flow

WRONG_IDENTITY: list[tuple[str, Any]] = [
    ("iss", "https://other.example/realms/demo"),
    ("iss", ...),
    ("aud", "other-app"),
    ("aud", ["other-app", "third"]),
    ("aud", ...),
    ("azp", "other-app"),
    ("nonce", "another"),
    ("nonce", ...),
    ("exp", 1),
    ("exp", ...),
    ("exp", "soon"),
    ("iat", ...),
    ("iat", 4_000_000_000),
    ("sub", ...),
    ("sub", ""),
    ("sub", 7),
    ("typ", "Logout"),
    ("typ", ...),
    ("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
    ("auth_time", "yesterday"),
]


@pytest.mark.parametrize(("claim", "value"), WRONG_IDENTITY)
def test_every_claim_of_the_id_token(flow: Flow, claim: str, value: Any) -> None:
    """An ID token with a claim that is wrong, missing or of another type logs nobody in."""
    claims = flow.issuer.id_token(flow.query["nonce"], **{claim: value})
    flow.issue(identity=flow.issuer.sign(claims))

    answer = flow.come_back()

    assert answer.status_code == 403
    assert not flow.logged_in


def test_an_id_token_that_somebody_else_signed(flow: Flow) -> None:
    """By an unknown key, without a key, with the public key as a password."""
    claims = flow.issuer.id_token(flow.query["nonce"])
    other = RSAKey.generate_key(2048, {"kid": "one"})
    forged = [
        flow.issuer.sign(claims, key=other),
        flow.issuer.forge_none(claims),
        flow.issuer.forge_symmetric(claims),
        "x.y.z",
    ]
    for text in forged:
        flow.begin()
        flow.issue(identity=text)
        assert flow.come_back().status_code == 403
        assert not flow.logged_in


@pytest.mark.parametrize(
    ("claim", "value"),
    [("sub", "bob"), ("iss", "https://other.example"), ("typ", "Refresh"), ("exp", 1)],
)
def test_the_access_token_is_verified_too(flow: Flow, claim: str, value: Any) -> None:
    """It says the roles, so it has to be genuine and the same person's."""
    claims = flow.issuer.access_token(**{claim: value})
    flow.issue(access=flow.issuer.sign(claims))

    assert flow.come_back().status_code == 403
    assert not flow.logged_in


def test_a_lightweight_access_token(flow: Flow) -> None:
    """It names nobody; the ID token beside it does."""
    access = flow.issuer.access_token(sub=..., sid=..., preferred_username=...)
    flow.issue(access=flow.issuer.sign(access))

    assert flow.come_back().status_code == 303

    assert flow.client.get("/me").json["subject"] == "alice"


@pytest.mark.parametrize(
    ("claim", "value"), [("sid", "\ud800"), ("sid", "x" * 1020), ("sub", "\ud800")]
)
def test_what_cannot_be_a_label(flow: Flow, claim: str, value: str) -> None:
    """An id that no store could hold is refused like any other nonsense."""
    access = {claim: value} if claim == "sub" else {}
    flow.issue(
        identity=flow.issuer.sign(flow.issuer.id_token(flow.query["nonce"], **{claim: value})),
        access=flow.issuer.sign(flow.issuer.access_token(**access)),
    )

    assert flow.come_back().status_code == 403
    assert not flow.logged_in


@pytest.mark.parametrize(
    "when", [float("inf"), 10**400, 4_000_000_000], ids=["infinite", "huge", "ahead"]
)
def test_a_password_entered_at_no_time(flow: Flow, when: Any) -> None:
    """Keycloak's clock may be ahead, and its claims odd: no error of the server's."""
    flow.issue(identity=flow.issuer.sign(flow.issuer.id_token(flow.query["nonce"], auth_time=when)))

    assert flow.come_back().status_code in (303, 403)
