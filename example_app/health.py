"""For whoever watches, and a page on which nobody looks at a token."""

from __future__ import annotations

from flask import Blueprint, jsonify, render_template
from flask.typing import ResponseReturnValue

from .tokens import tokens

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def alive() -> ResponseReturnValue:
    """The process runs. Says nothing of the store, or a fault there would restart everything."""
    return jsonify(ok=True)


@blueprint.get("/readyz")
def ready() -> ResponseReturnValue:
    """Whether this worker can vouch for tokens: where not, send requests elsewhere."""
    readiness = tokens.readiness()
    staleness = readiness.staleness
    said = jsonify(
        store=readiness.store,
        fresh=readiness.fresh,
        staleness_seconds=None if staleness is None else round(staleness, 3),
        applied=readiness.applied,
    )
    said.headers["Cache-Control"] = "no-store"
    return said, 200 if readiness.fresh else 503


@blueprint.get("/public")
def public() -> ResponseReturnValue:
    return render_template("public.html")
