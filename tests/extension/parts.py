"""Parts that the tests of the Flask face are built from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, jsonify
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_clustertoken import ClusterToken, current_token, token_required
from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.extension import state_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

SECRET = "the secret of these tests, long enough"
DAY = 86_400
COOKIE = "__Host-clustertoken"

MakeApp = Callable[..., tuple[Flask, ClusterToken]]


class Client(FlaskClient):
    """A client that sends the ``Cookie`` header it is given instead of its own cookies."""

    def _add_cookies_to_wsgi(self, environ: WSGIEnvironment) -> None:
        if "HTTP_COOKIE" not in environ:
            super()._add_cookies_to_wsgi(environ)


class WatchedStore:
    """A store that counts its calls, and that can be cut off."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.calls: Counter[str] = Counter()
        self.trouble: Exception | None = None
        #: Whether other processes see it.
        self.shared: bool = store.shared

    def cut_off(self, error: Exception | None = None) -> None:
        self.trouble = error or StoreUnavailable("the line was cut")

    def mend(self) -> None:
        self.trouble = None

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)
        if not callable(value) or name in ("close", "forget"):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            if self.trouble is not None:
                raise self.trouble
            return value(*args, **kwargs)

        return call


def watch(app: Flask) -> WatchedStore:
    """Put a :class:`WatchedStore` before the app's store; before the first request."""
    authority = state_of(app).authority
    assert authority.following is None, "too late: the store is in use"
    watched = WatchedStore(authority.store)
    authority.runtime.store = watched  # type: ignore[assignment]
    return watched


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make_app(clock: ManualClock, tmp_path: Path) -> Iterator[MakeApp]:
    """Makes apps with a store in memory: settings by name, in capitals, without the prefix."""
    made: list[TokenAuthority] = []

    def make(name: str = "app", **settings: Any) -> tuple[Flask, ClusterToken]:
        app = Flask(name, instance_path=str(tmp_path / name), root_path=str(tmp_path))
        given = {"STORE": "memory:", "SECRET": SECRET, **settings}
        app.config.update({f"CLUSTERTOKEN_{key}": value for key, value in given.items()})
        tokens = ClusterToken(app, clock=clock)
        made.append(state_of(app).authority)
        add_views(app, tokens)
        return app, tokens

    yield make
    for one in made:
        if isinstance(one.store, WatchedStore):
            one.store.mend()
        one.close()


@pytest.fixture
def site(make_app: MakeApp) -> tuple[Flask, ClusterToken]:
    """An app with what :func:`add_views` has, and its extension."""
    return make_app()


def add_views(app: Flask, tokens: ClusterToken) -> None:
    """Log in and out, one protected view, one that looks, one that does not."""
    app.test_client_class = Client

    @app.post("/login/<subject>")
    def login(subject: str) -> Any:
        return jsonify(id=tokens.login(subject).id)

    @app.post("/logout")
    def logout() -> Any:
        return jsonify(ended=tokens.logout() is not None)

    @app.route("/me", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    @token_required
    def me() -> Any:
        return jsonify(subject=current_token.subject, kind=current_token.kind)

    @app.route("/maybe", methods=["GET", "POST"])
    def maybe() -> str:
        return current_token.subject or "nobody"

    @app.get("/public")
    def public() -> str:
        return "hello"


def texts_set(response: TestResponse, name: str = COOKIE) -> list[str]:
    """The values that this response sets the cookie to, in order; ``""`` clears it."""
    found = []
    for header in response.headers.getlist("Set-Cookie"):
        key, _, value = header.partition(";")[0].partition("=")
        if key == name:
            found.append(value)
    return found


def cookie(text: str, name: str = COOKIE) -> dict[str, str]:
    return {"Cookie": f"{name}={text}"}


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def login_text(app: Flask, subject: str = "alice", **more: Any) -> str:
    return state_of(app).authority.issue_login(subject, **more).text


def api_text(app: Flask, subject: str = "alice", *scopes: str) -> str:
    return state_of(app).authority.issue_api_token(subject, "a robot", scopes).text
