"""Logins while something happens: log-outs, a lagging store, a Keycloak that is mad or gone."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from werkzeug.wrappers import Request, Response

from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak.sessions import PendingLogin, begin, labels
from flask_clustertoken.keycloak.web import views
from flask_clustertoken.stores.base import HeadIs
from tests.keycloak.app import Make, create_app
from tests.keycloak.flow import Flow
from tests.keycloak.issuer import Issuer


def test_a_login_takes_too_long(app: Flask, issuer: Issuer, monkeypatch: Any) -> None:
    """Half an hour at Keycloak's page, and not for ever; a few seconds of clock are forgiven."""
    flow = Flow(app, issuer)
    for later, status in ((-100, 400), (-30, 303), (1700, 303), (1900, 400)):
        flow.client.delete_cookie("clustertoken")

        def begun(*given: Any, by: float = later) -> PendingLogin:
            made = begin(*given)
            return replace(made, began_at=made.began_at - by)

        with monkeypatch.context() as patch:
            patch.setattr(views, "begin", begun)
            flow.begin()
        flow.issue()
        assert flow.come_back().status_code == status, later


def test_a_login_waits_for_its_host(app: Flask, issuer: Issuer) -> None:
    """Keycloak drops the host of a login if it does not know it yet: nobody is sent before."""
    order: list[str] = []

    class Registering:
        pid = 0

        def before_login(self) -> None:
            order.extend(["waited", *issuer.asked])

        def leave(self) -> None:
            pass

    app.extensions["keycloak"].registration.registrar = Registering()

    assert Flow(app, issuer).begin().status_code == 303

    assert order == ["waited"]


def test_a_login_older_than_the_not_before(app: Flask, flow: Flow) -> None:
    """A login to come is judged by Keycloak's clock against Keycloak's clock."""
    adapter = app.extensions["keycloak"]
    adapter.not_before.push(time.time() + 5, [], "pushed")

    assert flow.come_back().status_code == 403
    assert not flow.logged_in


def test_a_users_own_not_before_is_its_own(app: Flask, issuer: Issuer, flow: Flow) -> None:
    """It comes with one person's response, and refuses nobody else."""
    flow.issue(**{"not-before-policy": int(time.time()) + 10})
    assert flow.come_back().status_code == 403

    other = Flow(app, issuer)
    other.begin()
    other.issue()
    assert other.come_back().status_code == 303
    assert other.logged_in


def test_a_logout_during_the_exchange(app: Flask, flow: Flow) -> None:
    """It wins, whatever the order: the login is not made, and its tokens are not kept."""
    authority = state_of(app).authority
    made = flow.issuer.token

    def answer(request: Request) -> Response:
        found = made(request)
        authority.revoke_labels([labels.sid_label(flow.issuer.issuer, "sid-1")])
        return found

    flow.issuer.token = answer

    back = flow.come_back()

    assert back.status_code == 403
    assert "ended while" in back.text
    assert not flow.logged_in
    adapter = app.extensions["keycloak"]
    kept = adapter.keys.session(labels.sid_label(flow.issuer.issuer, "sid-1"))
    assert state_of(app).authority.store.scan(kept) == []
    assert not [one for one in back.headers.getlist("Set-Cookie") if "_kc0=" in one]
    # A session that lives on would log in with the same id for ever: it is ended at Keycloak.
    adapter.background.drain()
    assert any(path.endswith("/openid-connect/logout") for path in flow.issuer.asked)


def test_everybody_logged_out_during_the_exchange(app: Flask, flow: Flow) -> None:
    """A mark that falls between the callback and the login covers the login."""
    made = flow.issuer.token

    def answer(request: Request) -> Response:
        state_of(app).authority.revoke_all()
        return made(request)

    flow.issuer.token = answer

    assert flow.come_back().status_code == 403
    assert not flow.logged_in
    # The next attempt is not covered, so the person's session at Keycloak need not end.
    app.extensions["keycloak"].background.drain()
    assert not any(path.endswith("/openid-connect/logout") for path in flow.issuer.asked)


def test_a_node_that_cannot_catch_up(
    app: Flask, flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that lags is no logout: 503, and the session at Keycloak goes on."""
    authority = state_of(app).authority
    usual, others = authority.store.append, itertools.count()

    def append(entries: Any, changes: Any = (), **more: Any) -> Any:
        # What the store has besides is not known: where nothing was revoked, nothing need be.
        if any(isinstance(one, HeadIs) for one in changes) and next(others) == 0:
            authority.revoke_subject("bob")
        return usual(entries, changes, **more)

    with monkeypatch.context() as patch:
        patch.setattr(authority.store, "append", append)
        patch.setattr(authority.follower().reader, "reach", lambda seq: False)
        assert flow.come_back().status_code == 503

    app.extensions["keycloak"].background.drain()
    assert not any(path.endswith("/openid-connect/logout") for path in flow.issuer.asked)
    assert not flow.logged_in


MAD: dict[str, Callable[[Request], Response]] = {
    "garbage": lambda request: Response(b"\xff\x00 garbage", 200),
    "html": lambda request: Response("<html>proxy error</html>", 502, mimetype="text/html"),
    "a list": lambda request: Response("[1, 2]", 200, mimetype="application/json"),
    "null": lambda request: Response("null", 200, mimetype="application/json"),
    "a redirect": lambda request: Response("", 302, headers={"Location": "http://127.0.0.1:9/"}),
    "too much": lambda request: Response("x" * 3_000_000, 200),
    "nothing": lambda request: Response("", 204),
    "empty object": lambda request: Response("{}", 200, mimetype="application/json"),
    "wrong types": lambda request: Response(
        '{"access_token": 1, "id_token": [], "issuer": 5, "jwks_uri": {}, "keys": "k"}'
    ),
}


@pytest.mark.parametrize("kind", MAD)
@pytest.mark.parametrize("step", ["discovery", "exchange", "keys"])
def test_keycloak_answers_garbage(issuer: Issuer, config: Make, kind: str, step: str) -> None:
    """At any step: a page that says so, 503, nobody is logged in, and nothing breaks."""
    app = create_app(config(issuer.url))
    flow = Flow(app, issuer)
    if step == "discovery":
        issuer.mad = MAD[kind]
        answer = flow.begin()
    else:
        flow.begin()
        flow.issue()
        if step == "exchange":
            issuer.token = MAD[kind]
        else:
            usual = issuer._respond

            def respond(request: Request) -> Response:
                return MAD[kind](request) if request.path.endswith("/certs") else usual(request)

            issuer._respond = respond  # type: ignore[method-assign]
        answer = flow.come_back()

    assert answer.status_code == 503, answer.text
    assert "Retry-After" in answer.headers
    issuer.mad = None
    assert not flow.logged_in
    state_of(app).authority.close()


@pytest.mark.parametrize("step", ["discovery", "exchange"])
def test_keycloak_is_gone(config: Make, step: str) -> None:
    """Nobody listens at its address any more."""
    with Issuer() as issuer:
        app = create_app(config(issuer.url))
        flow = Flow(app, issuer)
        if step == "exchange":
            flow.begin()
    answer = flow.begin() if step == "discovery" else flow.come_back()

    assert answer.status_code == 503
    state_of(app).authority.close()
