"""Keycloak's access tokens in ``Authorization: Bearer``, beside our own API tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from joserfc.jwk import RSAKey

from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak.sessions import labels
from tests.keycloak.app import Make, MakeApp, create_app
from tests.keycloak.issuer import Issuer
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app(options={"min-time-between-jwks-requests": 1})


def ask(app: Flask, text: str, path: str = "/me") -> Any:
    return app.test_client().get(path, headers={"Authorization": f"Bearer {text}"})


def push(app: Flask, issuer: Issuer, when: int) -> None:
    message = issuer.sign(issuer.admin_message("PUSH_NOT_BEFORE", notBefore=when))
    assert app.test_client().post("/keycloak/k_push_not_before", data=message).status_code == 200


def test_an_access_token_is_accepted(app: Flask, issuer: Issuer) -> None:
    """It is an API token with Keycloak's roles and scopes; and it is the token to pass on."""
    text = issuer.sign(issuer.access_token())

    me = ask(app, text).json

    assert me["subject"] == "alice"
    assert me["kind"] == "api"
    assert me["roles"] == ["editor"]
    assert ask(app, text, "/edit").status_code == 200
    assert ask(app, text, "/token").json == {"token": text}


def test_our_own_api_tokens_are_accepted_beside(app: Flask) -> None:
    """Each goes to its own judge."""
    text = state_of(app).authority.issue_api_token("robot", "a program").text

    assert ask(app, text).json["subject"] == "robot"
    assert ask(app, text, "/edit").status_code == 403
    assert ask(app, text, "/token").status_code == 401


def test_roles_of_the_client(issuer: Issuer, config: Make) -> None:
    """``use-resource-role-mappings``: the client's roles count, the realm's do not."""
    app = create_app(config(issuer.url, options={"use-resource-role-mappings": True}))
    text = issuer.sign(issuer.access_token())

    assert ask(app, text).json["roles"] == ["cook"]
    assert ask(app, text, "/edit").status_code == 403
    state_of(app).authority.close()


WRONG: list[Any] = [
    ("iss", "https://other.example/realms/demo"),
    ("iss", ...),
    ("typ", "ID"),
    ("typ", "Refresh"),
    ("typ", "Logout"),
    ("typ", ...),
    ("sub", ...),
    ("sub", ""),
    ("sub", ["alice"]),
    ("exp", ...),
    ("exp", "late"),
    ("exp", True),
    ("iat", ...),
    ("iat", "now"),
    ("iat", 4_000_000_000),
    ("iat", float("nan")),
    ("exp", float("inf")),
    ("exp", float("nan")),
    pytest.param("exp", 10**400, id="exp-huge"),
    ("nbf", 4_000_000_000),
    ("nbf", float("nan")),
    ("sub", "\ud800"),
    ("sid", "\ud800"),
    ("sid", 7),
]


@pytest.mark.parametrize(("claim", "value"), WRONG)
def test_every_claim(app: Flask, issuer: Issuer, claim: str, value: Any) -> None:
    """A token with a claim that is wrong, missing or of another type is refused."""
    answer = ask(app, issuer.sign(issuer.access_token(**{claim: value})))

    assert answer.status_code == 401
    assert answer.json["reason"] == "invalid"


def test_the_principal(issuer: Issuer, config: Make) -> None:
    """By ``principal-attribute``, as with a login; the subject stays ``sub``."""
    options = {"principal-attribute": "preferred_username"}
    app = create_app(config(issuer.url, options=options))
    token = issuer.access_token(sub="5f3", preferred_username="alice")

    me = ask(app, issuer.sign(token)).json

    assert (me["subject"], me["claims"]["principal"]) == ("5f3", "alice")
    del token["preferred_username"]
    assert ask(app, issuer.sign(token)).json["claims"]["principal"] == "5f3"
    state_of(app).authority.close()


def test_when_the_password_was_entered(app: Flask, issuer: Issuer) -> None:
    """By ``auth_time``, and where there is none (or none that can be) by the time of issue."""
    now = int(time.time())
    for given, expected in ((now - 1000, now - 1000), (..., now), ("x", now), (float("inf"), now)):
        token = issuer.sign(issuer.access_token(auth_time=given, iat=now))
        assert ask(app, token).json["authenticated_at"] == expected


def test_an_expired_token(app: Flask, issuer: Issuer) -> None:
    """Genuine and over: said so, since the signature held."""
    answer = ask(app, issuer.sign(issuer.access_token(exp=int(time.time()) - 60)))

    assert answer.json["reason"] == "expired"


def test_forged_tokens(app: Flask, issuer: Issuer) -> None:
    """By another key, by none, by the public key as a password, changed, or no token at all."""
    claims = issuer.access_token()
    other = RSAKey.generate_key(2048, {"kid": "one"})
    head, body, signature = issuer.sign(claims).split(".")
    _, more, _ = issuer.sign(issuer.access_token(sub="root")).split(".")
    for text in (
        issuer.sign(claims, key=other),
        issuer.forge_none(claims),
        issuer.forge_symmetric(claims),
        f"{head}.{more}.{signature}",
        f"{head}.{body}.",
        "eyJ.eyJ.x",
        "ey..",
        "e" * 100_000,
        "eyé.x.y",
    ):
        try:
            answer = ask(app, text)
        except UnicodeEncodeError:
            continue
        assert answer.status_code == 401, text
        assert answer.json["reason"] == "invalid"


def test_the_audience(issuer: Issuer, config: Make) -> None:
    """``verify-token-audience``: for us, or issued to us."""
    app = create_app(config(issuer.url, options={"verify-token-audience": True}))

    def status(**claims: Any) -> int:
        return int(ask(app, issuer.sign(issuer.access_token(**claims))).status_code)

    assert status(aud="account", azp="other") == 401
    assert status(aud=..., azp=...) == 401
    assert status(aud=["account", "app"], azp="other") == 200
    assert status(aud="app", azp="other") == 200
    assert status(aud="account", azp="app") == 200
    state_of(app).authority.close()


def test_a_session_that_was_logged_out(app: Flask, issuer: Issuer) -> None:
    """Its access tokens are refused at once, whichever of them."""
    text = issuer.sign(issuer.access_token())
    assert ask(app, text).status_code == 200

    state_of(app).authority.revoke_labels([labels.sid_label(issuer.issuer, "sid-1")])

    assert ask(app, text).json["reason"] == "revoked"
    assert ask(app, issuer.sign(issuer.access_token())).json["reason"] == "revoked"
    assert ask(app, issuer.sign(issuer.access_token(sid="sid-2"))).status_code == 200


def test_a_lock_refuses_while_it_stands(app: Flask, issuer: Issuer) -> None:
    """Of the user, or of the session; the token is good again afterwards."""
    text = issuer.sign(issuer.access_token())
    locking = state_of(app).authority.locking
    for target in ({"subject": "alice"}, {"label": labels.sid_label(issuer.issuer, "sid-1")}):
        locking.lock(message="Please call the office.", **target)

        refused = ask(app, text)

        assert refused.status_code == 403
        assert refused.json["error"] == "locked"
        assert refused.json["message"] == "Please call the office."
        locking.unlock(**target)
        assert ask(app, text).status_code == 200


def test_marks_leave_bearer_tokens_alone(app: Flask, issuer: Issuer) -> None:
    """They go by our feed's numbers, which Keycloak's tokens do not carry."""
    text = issuer.sign(issuer.access_token())
    state_of(app).authority.revoke_all(("login", "api"))
    state_of(app).authority.revoke_subject("alice", ("login", "api"))

    assert ask(app, text).status_code == 200


def test_a_not_before_that_was_pushed(issuer: Issuer, config: Make) -> None:
    """It refuses older tokens on every node from that moment, by Keycloak's own clock."""
    apps = [create_app(config(issuer.url)) for _ in range(2)]
    old = issuer.sign(issuer.access_token(iat=int(time.time()) - 10))
    new = issuer.sign(issuer.access_token())
    assert [ask(app, old).status_code for app in apps] == [200, 200]
    message = issuer.admin_message("PUSH_NOT_BEFORE", notBefore=int(time.time()) - 5)

    pushed = apps[0].test_client().post("/keycloak/k_push_not_before", data=issuer.sign(message))

    assert pushed.status_code == 200
    assert [ask(app, old).status_code for app in apps] == [401, 401]
    assert [ask(app, new).status_code for app in apps] == [200, 200]
    for app in apps:
        state_of(app).authority.close()


@pytest.mark.processes
def test_a_new_key_is_looked_for_once_in_a_while(app: Flask, issuer: Issuer) -> None:
    """An unknown key id makes us ask again, but never at the pace of whoever invents them."""
    assert ask(app, issuer.sign(issuer.access_token())).status_code == 200
    new = RSAKey.generate_key(2048, {"kid": "new", "use": "sig"})
    before = len([one for one in issuer.asked if one.endswith("/certs")])
    began = time.monotonic()
    for number in range(50):
        unknown = issuer.sign(issuer.access_token(), key=new, kid=f"invented-{number}")
        assert ask(app, unknown).status_code == 401
    asked = len([one for one in issuer.asked if one.endswith("/certs")]) - before
    # The option says one second: however long this took, once for each.
    assert asked <= 1 + int(time.monotonic() - began)

    issuer.listed.append(new)
    try:
        text = issuer.sign(issuer.access_token(), key=new)
        wait_until(lambda: ask(app, text).status_code == 200, 5)
    finally:
        issuer.listed.remove(new)


def test_keycloak_is_down(config: Make) -> None:
    """Without its keys nothing can be said: 503, and not 401."""
    with Issuer() as issuer:
        app = create_app(config(issuer.url))
        text = issuer.sign(issuer.access_token())

    assert ask(app, text).status_code == 503
    state_of(app).authority.close()


def test_keycloak_is_down_later(config: Make) -> None:
    """With its keys at hand its tokens are judged as ever."""
    with Issuer() as issuer:
        app = create_app(config(issuer.url))
        text = issuer.sign(issuer.access_token())
        assert ask(app, text).status_code == 200

    assert ask(app, text).status_code == 200
    state_of(app).authority.close()


def test_a_lower_not_before_brings_no_token_back(issuer: Issuer, config: Make) -> None:
    """What was refused once stays refused, on the node that was told and on the others."""
    apps = [create_app(config(issuer.url)) for _ in range(2)]
    now = int(time.time())
    old = issuer.sign(issuer.access_token(iat=now - 10))
    push(apps[0], issuer, now - 5)
    assert [ask(app, old).status_code for app in apps] == [401, 401]

    push(apps[1], issuer, 0)
    for app in apps:
        # (What a process remembers is no help: half a minute later it asks the store.)
        app.extensions["keycloak"].not_before._until = float("-inf")

    assert [ask(app, old).status_code for app in apps] == [401, 401]
    assert [ask(app, issuer.sign(issuer.access_token())).status_code for app in apps] == [200] * 2
    for app in apps:
        state_of(app).authority.close()


def test_a_not_before_in_the_future_can_be_taken_back(app: Flask, issuer: Issuer) -> None:
    """A slip of the administrator's ends what there was, and not what comes after its end."""
    now = int(time.time())
    old, later = (issuer.sign(issuer.access_token(iat=one)) for one in (now - 10, now + 20))
    push(app, issuer, now + 100_000)
    assert ask(app, later).json["reason"] == "revoked"

    push(app, issuer, 0)

    assert ask(app, old).json["reason"] == "revoked"
    assert ask(app, later).status_code == 200


@pytest.mark.parametrize("later", [True, False])
def test_a_key_that_was_withdrawn(issuer: Issuer, config: Make, later: bool) -> None:
    """A push makes every node ask for the keys again, before it accepts one more token: also a
    push that ends nobody, and also the nodes that were not told themselves."""
    options = {"min-time-between-jwks-requests": 0}
    apps = [create_app(config(issuer.url, options=options)) for _ in range(2)]
    bad = RSAKey.generate_key(2048, {"kid": "bad", "use": "sig"})

    def asked() -> list[int]:
        text = issuer.sign(issuer.access_token(), key=bad)
        return [ask(app, text).status_code for app in apps]

    issuer.listed = [issuer.key, bad]
    assert asked() == [200, 200]
    issuer.listed = [issuer.key]

    push(apps[0], issuer, int(time.time()) - 5 if later else 0)

    assert asked() == [401, 401]
    for app in apps:
        state_of(app).authority.close()
