"""An app as its author types it; only read, by mypy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, Response, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from flask.views import MethodView

from flask_clustertoken import (
    ClusterToken,
    IssuedToken,
    Refusal,
    Revocation,
    Token,
    current_token,
    fresh_login_required,
    require_token,
    safe_target,
    token_policy,
    token_required,
)
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import StoreError, TokenLimitReached
from flask_clustertoken.extension.signals import revocation_applied
from flask_clustertoken.testing import TokenClient

tokens = ClusterToken()


class User:
    def __init__(self, name: str) -> None:
        self.name = name


@tokens.user_loader
def load_user(token: Token) -> User | None:
    return User(token.subject) if token.kind == "login" else None


@tokens.unauthorized_handler
def unauthorized(refusal: Refusal) -> ResponseReturnValue:
    return jsonify(reason=refusal.reason, detail=refusal.detail), 401


def create_app(**config: Any) -> Flask:
    app = Flask(__name__)
    app.config.from_mapping(config)
    tokens.init_app(app)

    @app.get("/bare")
    @token_required
    def bare() -> str:
        return current_token.subject or ""

    @app.get("/called/<int:number>")
    @token_required(kind="api", scopes=["read"], slide=False, strict=True)
    def called(number: int) -> dict[str, int]:
        return {"number": number}

    @app.get("/waited-for")
    @token_required
    async def waited_for() -> Response:
        return jsonify(require_token().subject)

    @app.get("/polled")
    @token_policy(slide=False)
    def polled() -> str:
        return "fresh" if current_token else "stranger"

    @app.post("/precious")
    @fresh_login_required(timedelta(minutes=5))
    def precious() -> str:
        return require_token(kind="login").subject

    app.add_url_rule("/items", view_func=Items.as_view("items"))
    app.add_url_rule("/login", view_func=login, methods=["POST"])
    return app


class Items(MethodView):
    decorators = [token_required(scopes=("items",))]  # noqa: RUF012

    def get(self) -> str:
        return "items"


def login() -> ResponseReturnValue:
    since = tokens.login_begins()
    claims: Mapping[str, Any] = {"role": "reader"}
    try:
        token = tokens.login(
            request.form["name"],
            claims,
            since=since,
            remember=False,
            labels=("provider:1",),
            authenticated_at=datetime.now(),
        )
    except TokenLimitReached:
        return "too many", 403
    assert token.expires_at is not None
    return redirect(safe_target(request.args.get("next")))


def manage(subject: str) -> list[str]:
    issued: IssuedToken = tokens.issue_api_token(subject, "robot", ["read"], timedelta(days=1))
    revocation: Revocation = tokens.revoke_subject(subject, kinds=("login", "api"))
    state = revocation.confirm(timeout=1.0)
    if not state:
        print([silent.node.name for silent in state.silent])
    ended: Revocation | None = tokens.logout_everywhere(keep_current=True)
    tokens.shared("jobs").set("nightly", {"ended": ended is not None}, ttl=60)
    pages = tokens.tokens_of(subject)
    return [token.id for token in pages] if pages.recorded else [issued.token.id]


@revocation_applied.connect
def applied(sender: Flask, **extra: Any) -> None:
    print(sender.name, extra["seq"])


def ready() -> tuple[dict[str, Any], int]:
    now = tokens.readiness()
    return {"fresh": now.fresh, "trouble": now.trouble}, 200 if now.fresh else 503


def try_out() -> None:
    app = create_app(CLUSTERTOKEN_STORE="memory:")
    ClusterToken(clock=ManualClock())
    app.test_client_class = TokenClient
    client = app.test_client(subject="alice", scopes=["read"])
    try:
        client.get("/bare")
    except StoreError as error:
        print(error.__cause__)
    with app.test_request_context(), tokens.acting_as("alice", {"role": "reader"}) as token:
        kind: str = token.kind
        name: str | None = current_token.subject
        print(kind, name)
