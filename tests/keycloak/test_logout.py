"""Logging out of the app: what ends here, and what Keycloak is asked for."""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak.sessions import labels
from tests.keycloak.app import MakeApp
from tests.keycloak.flow import Flow
from tests.keycloak.issuer import Issuer


@pytest.fixture(params=["session", "cookie"])
def make(request: pytest.FixtureRequest, make_app: MakeApp) -> MakeApp:
    return functools.partial(make_app, store=request.param)


def log_in(app: Flask, issuer: Issuer, **response: Any) -> Flow:
    flow = Flow(app, issuer)
    flow.begin()
    flow.issue(**response)
    assert flow.come_back().status_code == 303
    return flow


def asked_for_logout(app: Flask, issuer: Issuer) -> bool:
    app.extensions["keycloak"].background.drain()
    return any(path.endswith("/openid-connect/logout") for path in issuer.asked)


def lose_the_tokens(app: Flask, flow: Flow) -> None:
    """As after the secret was changed, or where the store dropped them."""
    label = labels.login_label(flow.client.get("/me").json["labels"])
    app.extensions["keycloak"].provider_tokens.drop(label)
    flow.client.delete_cookie("clustertoken_kc0")


def query_of(answer: TestResponse) -> dict[str, str]:
    return {name: one[0] for name, one in parse_qs(urlsplit(answer.location).query).items()}


def test_in_the_background(make: Any, issuer: Issuer) -> None:
    """``tokens.logout()`` ends the login here, and the session by its refresh token."""
    app = make()
    flow = log_in(app, issuer)

    assert flow.client.post("/logout").status_code == 200

    assert not flow.logged_in
    assert asked_for_logout(app, issuer)


def test_by_the_browser(make: Any, issuer: Issuer) -> None:
    """``keycloak_logout()`` sends it to Keycloak's logout page with the ID token as the hint, so
    that no question is asked; and Keycloak is not asked twice."""
    app = make()
    flow = log_in(app, issuer)

    answer = flow.client.post("/logout-both")

    assert answer.status_code == 303
    assert answer.location.startswith(f"{issuer.issuer}/protocol/openid-connect/logout?")
    query = query_of(answer)
    assert query["client_id"] == "app"
    assert query["post_logout_redirect_uri"] == "http://localhost/"
    assert query["id_token_hint"].startswith("ey")
    assert not flow.logged_in
    assert not asked_for_logout(app, issuer)


@pytest.mark.parametrize("how", ["/logout", "/logout-both", "/keycloak/logout"])
def test_here_alone(make: Any, issuer: Issuer, how: str) -> None:
    """``KEYCLOAK_LOGOUT="local"``: Keycloak's session is left alone, whichever way."""
    app = make(KEYCLOAK_LOGOUT="local")
    flow = log_in(app, issuer)

    answer = flow.client.post(how)

    assert answer.location in (None, "/")
    assert not flow.logged_in
    assert not asked_for_logout(app, issuer)


@pytest.mark.parametrize("target", ["/bye", "https://friend.example/bye"])
def test_back_to_a_page_of_the_realm(make: Any, issuer: Issuer, target: str) -> None:
    """A path of this origin becomes a whole URL; one of an origin that was named is one."""
    app = make(CLUSTERTOKEN_TRUSTED_ORIGINS=["https://friend.example"])
    flow = log_in(app, issuer)

    answer = flow.client.post("/keycloak/logout", data={"next": target})

    back = f"http://localhost{target}" if target.startswith("/") else target
    assert query_of(answer)["post_logout_redirect_uri"] == back


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_only_targets_of_our_own(make: Any, issuer: Issuer, target: str) -> None:
    """Neither we nor Keycloak send the browser to another site."""
    app = make()
    flow = log_in(app, issuer)

    answer = flow.client.post("/keycloak/logout", data={"next": target})
    assert query_of(answer)["post_logout_redirect_uri"] == "http://localhost/"
    # (Nobody is logged in any more.)
    again = flow.client.post("/keycloak/logout", data={"next": target})
    assert again.location == "/"


def test_the_tokens_are_gone(make: Any, issuer: Issuer) -> None:
    """The browser goes to Keycloak all the same, which asks the person."""
    app = make()
    flow = log_in(app, issuer)
    lose_the_tokens(app, flow)

    query = query_of(flow.client.post("/logout-both"))

    assert query["client_id"] == "app"
    assert "id_token_hint" not in query
    assert not flow.logged_in


@pytest.mark.parametrize("why", ["no refresh token", "gone"])
def test_nothing_to_end_the_session_with(
    make: Any, issuer: Issuer, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    """The login ends here, and the log says that the session goes on."""
    app = make()
    flow = log_in(app, issuer, refresh_token="" if why == "no refresh token" else "r")
    if why == "gone":
        lose_the_tokens(app, flow)

    assert flow.client.post("/logout").status_code == 200

    assert not flow.logged_in
    assert not asked_for_logout(app, issuer)
    assert "its session at Keycloak goes on" in caplog.text


@pytest.mark.parametrize("how", ["/logout", "/logout-both"])
def test_the_store_is_down(
    make: Any, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """503, since the login may still be accepted elsewhere; Keycloak's session ends, and with it
    the logins of all other apps."""
    app = make()
    flow = log_in(app, issuer)

    def fails(*_: object, **__: object) -> Any:
        raise StoreUnavailable("not now")

    with monkeypatch.context() as patch:
        patch.setattr(state_of(app).authority.store, "append", fails)
        answer = flow.client.post(how)

    assert answer.status_code == 503
    assert asked_for_logout(app, issuer)


def test_people_who_share_an_app_context(make: Any, issuer: Issuer) -> None:
    """What is remembered within a request is forgotten with it, whatever ``g`` outlives."""
    app = make()
    with app.app_context():
        alice = log_in(app, issuer)
        of_alice = alice.client.get("/token").json["token"]
        bob = Flow(app, issuer)
        bob.begin()
        bob.issue(
            access=issuer.sign(issuer.access_token(sub="bob", sid="sid-b")),
            identity=issuer.sign(issuer.id_token(bob.query["nonce"], sub="bob", sid="sid-b")),
        )
        bob.come_back()
        assert bob.client.get("/token").json["token"] != of_alice
        assert alice.client.get("/token").json["token"] == of_alice
