"""The app of every node of an upgrade: of the package it uses only what both versions have.

``lock`` aside, which the version before does not know. It runs in a folder of its own, where no
other copy of the package lies.
"""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, request

import flask_clustertoken
from flask_clustertoken import ClusterToken, current_token, token_required

FOLDER = os.environ["INSTANCE"]

app = Flask(__name__, instance_path=FOLDER)
app.config.update(
    CLUSTERTOKEN_STORE=os.environ.get("CLUSTERTOKEN_STORE", f"directory://{FOLDER}/shared"),
    CLUSTERTOKEN_SECRET="one key for every node of the test, long enough",
    CLUSTERTOKEN_COOKIE_SECURE=False,
    CLUSTERTOKEN_LIFETIME=3600,
    # Whatever is used a second later is renewed.
    CLUSTERTOKEN_RENEW_AFTER=1,
    CLUSTERTOKEN_MAX_STALENESS=int(os.environ["CLUSTERTOKEN_MAX_STALENESS"]),
)
if "CLUSTERTOKEN_DEVICE_BOUND" in os.environ:  # (Not in front of the version before.)
    app.config["CLUSTERTOKEN_DEVICE_BOUND"] = os.environ["CLUSTERTOKEN_DEVICE_BOUND"]
tokens = ClusterToken(app)


@app.get("/healthz")
def healthz() -> str:
    return "ok"


@app.get("/readyz")
def readyz() -> Any:
    found = tokens.readiness()
    said = {
        "fresh": found.fresh,
        "trouble": found.trouble,
        "package": os.path.dirname(flask_clustertoken.__file__ or ""),
    }
    return said, 200 if found.fresh else 503


@app.post("/login/<subject>")
def login(subject: str) -> str:
    labels = [f"team:{subject}"]
    return tokens.login(subject, since=tokens.login_begins(), labels=labels).id


@app.post("/program/<subject>")
def program(subject: str) -> Any:
    made = tokens.issue_api_token(subject, "a program")
    return {"id": made.token.id, "text": made.text}


@app.get("/me")
@token_required
def me() -> str:
    return str(current_token.subject)


@app.post("/revoke/<what>/<target>")
def revoke(what: str, target: str) -> Any:
    made = {
        "id": lambda: tokens.revoke(target),
        "subject": lambda: tokens.revoke_subject(target),
        "label": lambda: tokens.revoke_label(f"team:{target}"),
        "programs of one": lambda: tokens.revoke_subject(target, kinds=["api"]),
        "programs": lambda: tokens.revoke_all(kinds=["api"]),
        "not before": lambda: tokens.not_before(float(target)),
        "all": lambda: tokens.revoke_all(),
    }[what]()
    return {"in_force": bool(made.confirm(timeout=float(request.args["timeout"])))}


@app.post("/lock/<subject>")
def lock(subject: str) -> Any:
    from flask_clustertoken.errors import NodesTooOld

    try:
        made = tokens.lock(subject=subject, message="Please call the office.")
    except NodesTooOld as error:
        return {"too_old": list(error.nodes), "says": str(error)}, 409
    return {"in_force": bool(made.confirm(timeout=float(request.args["timeout"])))}
