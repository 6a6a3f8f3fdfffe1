"""The app that the tests run against: one process of it, or several nodes under gunicorn."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from flask import Flask, jsonify, request

from flask_clustertoken import ClusterToken, current_token, token_required
from flask_clustertoken.keycloak import (
    Keycloak,
    keycloak_logout,
    keycloak_roles,
    keycloak_token,
    role_required,
)

#: Makes the configuration of an app at a URL, given what it has besides the usual.
Make = Callable[..., dict[str, Any]]
#: Makes an app, given what its configuration has besides the usual.
MakeApp = Callable[..., Flask]


def configuration(
    url: str, client: str, *, store: str, token_store: str = "session", **more: Any
) -> dict[str, Any]:
    """Of an app that is *client* of the realm ``demo`` at *url*; *more* by its full name."""
    options = {
        "realm": "demo",
        "resource": client,
        "auth-server-url": url,
        "credentials": {"secret": "secret"},
        **more.pop("options", {}),
    }
    return {
        "CLUSTERTOKEN_STORE": store,
        "CLUSTERTOKEN_TOKEN_STORE": token_store,
        "CLUSTERTOKEN_SECRET": "a secret of the tests, long enough for anybody",
        "CLUSTERTOKEN_COOKIE_SECURE": False,
        "KEYCLOAK_OPTIONS": options,
        **more,
    }


def create_app(config: dict[str, Any] | None = None) -> Flask:
    """*config*, or the JSON in ``TEST_APP_CONFIG``."""
    app = Flask("keycloak_test_app")
    app.config.update(config or json.loads(os.environ["TEST_APP_CONFIG"]))
    tokens = ClusterToken(app)
    Keycloak(app)

    @app.after_request
    def name_worker(response: Any) -> Any:
        response.headers["X-Pid"] = str(os.getpid())
        return response

    @app.get("/")
    def index() -> Any:
        return "hello"

    @app.get("/me")
    @token_required
    def me() -> Any:
        return jsonify(
            subject=current_token.subject,
            claims=current_token.claims,
            labels=current_token.labels,
            kind=current_token.kind,
            roles=sorted(keycloak_roles()),
            authenticated_at=current_token.authenticated_at,
            pid=os.getpid(),
        )

    @app.get("/page")
    @token_required
    def page() -> Any:
        return f"<h1>Hello {current_token.claims['name']}</h1>"

    @app.get("/edit")
    @role_required("editor")
    def edit() -> Any:
        return "edited"

    @app.get("/token")
    @token_required
    def token() -> Any:
        return jsonify(token=keycloak_token())

    @app.post("/logout")
    def logout() -> Any:
        tokens.logout()
        return "bye"

    @app.post("/logout-everywhere")
    def logout_everywhere() -> Any:
        tokens.logout_everywhere(keep_current=request.args.get("keep") == "1")
        return "bye"

    @app.post("/logout-both")
    def logout_both() -> Any:
        return keycloak_logout("/")

    @app.get("/ready")
    def ready() -> Any:
        found = tokens.readiness()
        return jsonify(fresh=found.fresh), 200 if found.fresh else 503

    return app
