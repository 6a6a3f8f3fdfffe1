"""An app whose logins somebody else vouches for, and logins in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, jsonify
from flask.testing import FlaskClient

from flask_clustertoken import ClusterToken, current_token, token_required
from flask_clustertoken.clock import Clock
from flask_clustertoken.extension import state_of
from flask_clustertoken.providers import BackChannelLogout, SharedSignals
from flask_clustertoken.tokens import Token
from tests.keycloak.issuer import Issuer

#: Makes an app at a store, with a token store.
MakeApp = Callable[..., Flask]


def configuration(store: str, token_store: str = "session", **more: Any) -> dict[str, Any]:
    return {
        "CLUSTERTOKEN_STORE": store,
        "CLUSTERTOKEN_TOKEN_STORE": token_store,
        "CLUSTERTOKEN_SECRET": "a secret of the tests, long enough for anybody",
        "CLUSTERTOKEN_COOKIE_SECURE": False,
        **more,
    }


def bare_app(
    store: str, token_store: str = "session", clock: Clock | None = None, **more: Any
) -> Flask:
    """One with a login of no provider yet."""
    app = Flask("providers_test_app")
    app.config.update(configuration(store, token_store, **more))
    ClusterToken(app, clock=clock)

    @app.get("/me")
    @token_required
    def me() -> Any:
        return jsonify(subject=current_token.subject, labels=current_token.labels)

    return app


class Login:
    """A login that the claims of an ID token were brought for, and whether it still stands."""

    def __init__(
        self,
        app: Flask,
        provider: BackChannelLogout | SharedSignals,
        claims: Mapping[str, Any] | None = None,
    ) -> None:
        self._authority = state_of(app).authority
        given = {"sub": "alice", "sid": "sid-1"} if claims is None else claims
        labels = provider.labels(given)
        self.text = self._authority.issue_login(str(given["sub"]), labels=labels).text

    def stands(self, on: Flask | None = None) -> bool:
        authority = self._authority if on is None else state_of(on).authority
        return isinstance(authority.authenticate(self.text), Token)


def post_token(client: FlaskClient, text: str, name: str = "oidc") -> Any:
    return client.post(f"/{name}/backchannel-logout", data={"logout_token": text})


def provider_of(issuer: Issuer, **more: Any) -> BackChannelLogout:
    return BackChannelLogout(issuer=issuer.issuer, client_id="app", **more)
