"""An app with a view for each thing that is made of a login; each reads its body last."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, request

from flask_clustertoken import ClusterToken, current_token, token_required

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


@app.post("/others")
@token_required
def others() -> str:
    body()
    tokens.logout_everywhere(keep_current=True)
    return "done"


@app.post("/again")
@token_required
def again() -> str:
    body()
    tokens.login(str(current_token.subject), since=tokens.login_begins())
    return "done"


@app.post("/api-token")
@token_required(kind="login")
def api_token() -> str:
    body()
    return tokens.issue_api_token(str(current_token.subject), "ci").text


@app.post("/end/<how>")
def end(how: str) -> str:
    token_id = request.args["id"]
    ended = {
        "id": lambda: tokens.revoke(token_id),
        "subject": lambda: tokens.revoke_subject("alice", ("login", "api")),
        "everything": lambda: tokens.revoke_all(("login", "api")),
    }[how]()
    return "in force" if ended.confirm() else "not in force"
