"""Requests of people who are logged in: always refreshed, renewed, and their session over."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.wrappers import Request, Response

from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak.sessions import labels, roles
from tests.keycloak.app import Make, MakeApp, create_app
from tests.keycloak.flow import Flow
from tests.keycloak.issuer import Issuer
from tests.waiting import holds_for, wait_past, wait_until


class Refreshes:
    """The token endpoint after the login: counts, and answers well until told otherwise."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.tokens = ["a-refresh-token"]
        self.over = False
        self.down = False
        #: Cleared, it does not answer.
        self.answers = threading.Event()
        self.answers.set()
        self.asked = self.answered = 0
        self.roles = ["editor"]
        issuer.token = self._answer

    @property
    def count(self) -> int:
        return len(self.tokens) - 1

    def _answer(self, request: Request) -> Response:
        self.asked += 1
        self.answers.wait(20)
        self.answered += 1
        if self.down:
            return Response("", 502)
        if self.over or request.form["refresh_token"] != self.tokens[-1]:
            return self.issuer.json({"error": "invalid_grant"}, 400)
        self.tokens.append(f"refresh-{len(self.tokens)}")
        access = self.issuer.access_token(realm_access={"roles": self.roles})
        return self.issuer.json(
            {
                "access_token": self.issuer.sign(access),
                "refresh_token": self.tokens[-1],
                "expires_in": 300,
            }
        )


def logged_in(app: Flask, issuer: Issuer, **response: Any) -> tuple[Flow, Refreshes]:
    flow = Flow(app, issuer)
    flow.begin()
    flow.issue(**response)
    assert flow.come_back().status_code == 303
    return flow, Refreshes(issuer)


@pytest.fixture(params=["session", "cookie"])
def always(request: pytest.FixtureRequest, make_app: MakeApp) -> Flask:
    return make_app(store=request.param, options={"always-refresh-token": True})


def test_always_refreshed(always: Flask, issuer: Issuer) -> None:
    """Each request refreshes once, and goes by the roles of that very moment."""
    flow, refreshes = logged_in(always, issuer)
    assert flow.client.get("/me").json["roles"] == ["editor"]
    refreshes.roles = ["reader"]

    assert flow.client.get("/me").json["roles"] == ["reader"]

    assert refreshes.count == 2
    assert flow.client.get("/edit").status_code == 403
    assert flow.client.get("/token").status_code == 200
    assert refreshes.count == 4


def test_always_refreshed_and_over(always: Flask, issuer: Issuer) -> None:
    """The session is over at Keycloak: the very same request is refused."""
    flow, refreshes = logged_in(always, issuer)
    refreshes.over = True

    assert flow.client.get("/me").status_code == 401
    refreshes.over = False
    assert flow.client.get("/me").status_code == 401


def test_always_refreshed_and_down(always: Flask, issuer: Issuer) -> None:
    """Keycloak does not answer: nobody is thrown out."""
    flow, refreshes = logged_in(always, issuer)
    refreshes.down = True

    assert flow.client.get("/me").status_code == 200
    assert flow.client.get("/token").status_code == 503


def test_roles_are_remembered_for_a_while(
    issuer: Issuer, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node refreshed: this one goes by the new roles once it asks the store again."""
    monkeypatch.setattr(roles, "ROLES_REMEMBERED", 0.5)
    options = {"token-minimum-time-to-live": 3600}
    apps = [create_app(config(issuer.url, options=options)) for _ in range(2)]
    flow, refreshes = logged_in(apps[0], issuer)
    text = flow.client.get_cookie("clustertoken").value  # type: ignore[union-attr]
    other = apps[1].test_client()
    other.set_cookie("clustertoken", text)
    assert other.get("/me").json["roles"] == ["editor"]
    refreshes.roles = ["reader"]
    assert flow.client.get("/token").status_code == 200
    assert flow.client.get("/me").json["roles"] == ["reader"]

    assert other.get("/me").json["roles"] == ["editor"]
    wait_until(lambda: other.get("/me").json["roles"] == ["reader"], 5)

    for app in apps:
        state_of(app).authority.close()


@pytest.fixture(params=["session", "cookie"])
def renewing(request: pytest.FixtureRequest, issuer: Issuer, config: Make) -> Iterator[Flask]:
    made = create_app(config(issuer.url, store=request.param, CLUSTERTOKEN_ALWAYS_RENEW=True))
    yield made
    state_of(made).authority.close()


def later(app: Flask) -> Any:
    """Whoever renews a login a second later than it was made."""
    wait_past(time.time() + 1.1)
    return app


@pytest.mark.processes
def test_a_renewal_notices_a_session_that_is_over(renewing: Flask, issuer: Issuer) -> None:
    """No call comes when a session expires; our own renewal asks, and ends the login."""
    flow, refreshes = logged_in(renewing, issuer, expires_in=1)
    refreshes.over = True
    later(renewing)

    flow.client.get("/me")

    wait_until(lambda: flow.client.get("/me").status_code == 401, 5)


@pytest.mark.processes
def test_a_renewal_keeps_a_session_that_lives(renewing: Flask, issuer: Issuer) -> None:
    """It is refreshed on the way, with rotation, and the browser follows."""
    flow, refreshes = logged_in(renewing, issuer, expires_in=1)
    later(renewing)

    flow.client.get("/me")

    wait_until(lambda: refreshes.count == 1, 5)
    assert flow.client.get("/me").status_code == 200
    assert flow.client.get("/token").status_code == 200
    assert refreshes.count == 1


@pytest.mark.processes
def test_a_renewal_while_keycloak_is_down(renewing: Flask, issuer: Issuer) -> None:
    """The login is renewed all the same."""
    flow, refreshes = logged_in(renewing, issuer, expires_in=1)
    refreshes.down = True
    later(renewing)

    answer = flow.client.get("/me")

    assert answer.status_code == 200
    assert any(one.startswith("clustertoken=") for one in answer.headers.getlist("Set-Cookie"))


@pytest.mark.processes
@pytest.mark.parametrize("store", ["session", "cookie"])
def test_what_is_kept_lives_as_long_as_the_login(issuer: Issuer, config: Make, store: str) -> None:
    """A login that slides takes Keycloak's tokens along, also those that fit into no cookie."""
    app = create_app(config(issuer.url, store=store, CLUSTERTOKEN_ALWAYS_RENEW=True))
    access = issuer.sign(issuer.access_token(noise=secrets.token_hex(9000)))
    flow, refreshes = logged_in(app, issuer, access_token=access)
    label = labels.login_label(flow.client.get("/me").json["labels"])
    keys = app.extensions["keycloak"].keys
    shared = state_of(app).authority.store

    def ends() -> float:
        found = shared.get(keys.tokens(label))
        assert found is not None
        return found.expires_at or 0.0

    at_login = ends()
    assert at_login > time.time() + 8 * 86_400
    later(app)

    assert flow.client.get("/me").status_code == 200

    wait_until(lambda: ends() > at_login + 1, 5)
    assert refreshes.asked == 0
    state_of(app).authority.close()


@pytest.mark.parametrize(("least", "count"), [(250, 0), (350, 1)])
def test_tokens_that_live_too_short_are_refreshed(
    issuer: Issuer, config: Make, least: int, count: int
) -> None:
    """``token-minimum-time-to-live``, with tokens of five minutes."""
    app = create_app(config(issuer.url, options={"token-minimum-time-to-live": least}))
    flow, refreshes = logged_in(app, issuer)

    assert flow.client.get("/token").status_code == 200

    assert refreshes.count == count
    state_of(app).authority.close()


@pytest.mark.parametrize("store", ["session", "cookie"])
def test_a_login_goes_on_beside_one_of_the_same_session(
    issuer: Issuer, config: Make, store: str
) -> None:
    """A browser with two names of the app: logging out of one leaves the other its tokens."""
    app = create_app(config(issuer.url, store=store, KEYCLOAK_LOGOUT="local"))
    access = issuer.sign(issuer.access_token(noise=secrets.token_hex(9000)))
    first, _ = logged_in(app, issuer, access_token=access)
    second, _ = logged_in(app, issuer, access_token=access)

    assert first.client.post("/logout").status_code == 200

    assert first.client.get("/token").status_code == 401
    assert second.client.get("/token").status_code == 200
    state_of(app).authority.close()


#: Long enough for a good answer, too short for one that hangs.
SHORT = {"socket-timeout-millis": 1500, "connection-timeout-millis": 100}


#: Seconds that whoever waits for it in vain waits at least.
HANGS = 1.5


def gets(flow: Flow, path: str, count: int) -> set[int]:
    """The statuses of *count* requests one after the other, none of which waits for Keycloak."""
    began = time.monotonic()
    found = {flow.client.get(path).status_code for _ in range(count)}
    assert time.monotonic() - began < count * HANGS
    return found


@pytest.mark.processes
@pytest.mark.parametrize("store", ["session", "cookie"])
def test_a_hanging_keycloak_slows_no_page(issuer: Issuer, config: Make, store: str) -> None:
    """With always-refresh, one request waits for it; the next ones go on with what they have."""
    options = {"always-refresh-token": True, **SHORT}
    app = create_app(config(issuer.url, store=store, options=options))
    flow, refreshes = logged_in(app, issuer)
    refreshes.answers.clear()

    assert flow.client.get("/me").status_code == 200
    asked = refreshes.asked
    assert gets(flow, "/me", 5) == {200}
    assert gets(flow, "/token", 5) == {200}
    assert refreshes.asked == asked == 1
    refreshes.answers.set()
    state_of(app).authority.close()


@pytest.mark.processes
@pytest.mark.parametrize("store", ["session", "cookie"])
def test_a_hanging_keycloak_slows_no_renewal(issuer: Issuer, config: Make, store: str) -> None:
    """Nobody wants the token that a renewal asks for. Who does want one, waits and is told."""
    app = create_app(config(issuer.url, store=store, options=SHORT, CLUSTERTOKEN_ALWAYS_RENEW=True))
    flow, refreshes = logged_in(app, issuer, expires_in=1)
    refreshes.answers.clear()
    later(app)
    assert flow.client.get("/me").status_code == 200
    wait_until(lambda: app.extensions["keycloak"].provider().silent, 5)
    asked = refreshes.asked
    later(app)

    assert gets(flow, "/me", 5) == {200}
    holds_for(lambda: refreshes.asked == asked, 0.2)

    assert flow.client.get("/token").status_code == 503
    assert refreshes.asked == asked + 1
    refreshes.answers.set()
    wait_until(lambda: refreshes.answered == refreshes.asked, 5)
    refreshes.tokens = [refreshes.tokens[0]]
    assert flow.client.get("/token").status_code == 200
    assert not app.extensions["keycloak"].provider().silent
    state_of(app).authority.close()
