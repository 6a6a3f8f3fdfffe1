"""The pages, and an API for programs that bring Keycloak's own access tokens."""

from __future__ import annotations

import os

from flask import Blueprint, current_app, jsonify, render_template
from flask.typing import ResponseReturnValue

from flask_clustertoken import current_token, token_required
from flask_clustertoken.keycloak import (
    keycloak_logout,
    keycloak_roles,
    keycloak_token,
    role_required,
)

blueprint = Blueprint("pages", __name__)


@blueprint.context_processor
def everywhere() -> dict[str, object]:
    node = os.environ.get("NODE_HOST", "this host")
    return {"node": f"{node}, process {os.getpid()}", "keycloak": os.environ.get("KEYCLOAK_URL")}


@blueprint.get("/")
def home() -> ResponseReturnValue:
    return render_template("home.html")


@blueprint.get("/me")
@token_required
def me() -> ResponseReturnValue:
    return render_template("me.html", roles=sorted(keycloak_roles()))


@blueprint.get("/editors")
@role_required("editor")
def editors() -> ResponseReturnValue:
    return render_template("editors.html")


@blueprint.get("/token")
@token_required
def token() -> ResponseReturnValue:
    """A valid access token, refreshed where needed: what the app would send to another one."""
    return render_template("token.html", token=keycloak_token())


@blueprint.get("/api/hello")
@token_required
def hello() -> ResponseReturnValue:
    """With a login, or with ``Authorization: Bearer`` and a token of Keycloak's."""
    return jsonify(
        hello=current_token.claims.get("preferred_username"),
        kind=current_token.kind,
        roles=sorted(keycloak_roles()),
    )


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    return keycloak_logout("/")


@blueprint.get("/readyz")
def ready() -> ResponseReturnValue:
    found = current_app.extensions["clustertoken"].authority.readiness()
    return jsonify(fresh=found.fresh, store=found.store), 200 if found.fresh else 503
