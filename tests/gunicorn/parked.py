"""The app of slow views, one process of it; what waits for its body says so in a file."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, request

from flask_clustertoken import ClusterToken, current_token, token_required
from tests.slow_views import add_slow_views

FOLDER = Path(os.environ["INSTANCE"])

app = Flask(__name__, instance_path=str(FOLDER))
app.config.update(
    CLUSTERTOKEN_STORE=f"directory://{FOLDER}/shared",
    CLUSTERTOKEN_SECRET="S" * 40,
    CLUSTERTOKEN_COOKIE_SECURE=False,
    CLUSTERTOKEN_TOKEN_STORE=os.environ.get("CLUSTERTOKEN_TOKEN_STORE", "session"),
)
tokens = ClusterToken(app)


def body() -> None:
    """Say that the token was looked at, and wait for what is still on its way."""
    (FOLDER / f"looked-{request.args['n']}").touch()
    request.get_data()


@app.get("/healthz")
def healthz() -> str:
    return "ok"


@app.post("/login")
def login() -> str:
    return tokens.login("alice", since=tokens.login_begins()).id


@app.get("/me")
@token_required
def me() -> str:
    return str(current_token.id)


add_slow_views(app, tokens, body)


@app.post("/end/<how>")
def end(how: str) -> str:
    token_id = request.args["id"]
    ended = {
        "id": lambda: tokens.revoke(token_id),
        "subject": lambda: tokens.revoke_subject("alice", ("login", "api")),
        "everything": lambda: tokens.revoke_all(("login", "api")),
    }[how]()
    return "in force" if ended.confirm() else "not in force"
