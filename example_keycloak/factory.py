"""The application factory. What belongs to Keycloak stands in ``keycloak.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_clustertoken import ClusterToken
from flask_clustertoken.keycloak import Keycloak

from . import views

tokens = ClusterToken()
keycloak = Keycloak()


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The example; *config* wins over the environment's ``CLUSTERTOKEN_`` and ``KEYCLOAK_``."""
    app = Flask(__name__, instance_path=os.environ.get("INSTANCE"))
    # Plain HTTP on this machine only. A real site leaves this on and serves HTTPS.
    app.config["CLUSTERTOKEN_COOKIE_SECURE"] = False
    for name in ("STORE", "TOKEN_STORE", "SECRET", "SECRET_FILE"):
        if value := os.environ.get(f"CLUSTERTOKEN_{name}"):
            app.config[f"CLUSTERTOKEN_{name}"] = value
    if host := os.environ.get("NODE_HOST"):
        app.config["KEYCLOAK_NODE_HOST"] = host
    app.config.update(config or {})
    tokens.init_app(app)
    keycloak.init_app(app)
    app.register_blueprint(views.blueprint)
    # One proxy in front: the app's own address is the one that browsers use.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    return app
