"""Requests of people who are logged in: always refreshed, renewed, and their session over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.wrappers import Request, Response

from flask_clustertoken.extension.state import state_of
from flask_clustertoken.keycloak import adapter
from tests.keycloak.app import create_app
from tests.keycloak.flow import Flow
from tests.keycloak.issuer import Issuer
from tests.waiting import wait_until

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as started:
        yield started


class Refreshes:
    """The token endpoint after the login: counts, and answers well until told otherwise."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.tokens = ["a-refresh-token"]
        self.over = False
        self.down = False
        self.roles = ["editor"]
        issuer.token = self._answer

    @property
    def count(self) -> int:
        return len(self.tokens) - 1

    def _answer(self, request: Request) -> Response:
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
def always(request: pytest.FixtureRequest, issuer: Issuer, config: Make) -> Iterator[Flask]:
    options = {"always-refresh-token": True}
    made = create_app(config(issuer.url, store=request.param, options=options))
    yield made
    state_of(made).authority.close()


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
    monkeypatch.setattr(adapter, "ROLES_REMEMBERED", 0.5)
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
    import time

    time.sleep(1.1)
    return app


def test_a_renewal_notices_a_session_that_is_over(renewing: Flask, issuer: Issuer) -> None:
    """No call comes when a session expires; our own renewal asks, and ends the login."""
    flow, refreshes = logged_in(renewing, issuer, expires_in=1)
    refreshes.over = True
    later(renewing)

    flow.client.get("/me")

    wait_until(lambda: flow.client.get("/me").status_code == 401, 5)


def test_a_renewal_keeps_a_session_that_lives(renewing: Flask, issuer: Issuer) -> None:
    """It is refreshed on the way, with rotation, and the browser follows."""
    flow, refreshes = logged_in(renewing, issuer, expires_in=1)
    later(renewing)

    flow.client.get("/me")

    wait_until(lambda: refreshes.count == 1, 5)
    assert flow.client.get("/me").status_code == 200
    assert flow.client.get("/token").status_code == 200
    assert refreshes.count == 1


def test_a_renewal_while_keycloak_is_down(renewing: Flask, issuer: Issuer) -> None:
    """The login is renewed all the same."""
    flow, refreshes = logged_in(renewing, issuer, expires_in=1)
    refreshes.down = True
    later(renewing)

    answer = flow.client.get("/me")

    assert answer.status_code == 200
    assert any(one.startswith("clustertoken=") for one in answer.headers.getlist("Set-Cookie"))
