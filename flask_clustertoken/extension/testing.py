"""Tests of your own app: a client that comes logged in.

::

    from flask_clustertoken.testing import TokenClient

    app.test_client_class = TokenClient
    client = app.test_client(subject="alice")
    robot = app.test_client(subject="alice", kind="api", scopes=["read"])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from ..tokens import Token, TokenKind
from .requirements import kind_of_test
from .state import state_of


class TokenClient(FlaskClient):
    """A test client with a real token of *subject*: everything is judged as in production."""

    def __init__(
        self,
        *args: Any,
        subject: str | None = None,
        claims: Mapping[str, Any] | None = None,
        kind: TokenKind | None = None,
        scopes: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        given = {"claims": claims, "kind": kind, "scopes": scopes}
        named = [name for name, value in given.items() if value is not None]
        kind = kind_of_test(kind, scopes)
        if subject is None and named:
            raise TypeError(f"{', '.join(named)} without a subject: whose token is it?")
        if kind == "api" and claims is not None:
            raise ValueError("an API token has no claims: leave them out, or scopes and kind")
        #: The token of *subject*, and its text; ``None`` where the client has none.
        self.token: Token | None = None
        self.token_text: str | None = None
        if subject is None:
            return
        app = self.application
        assert isinstance(app, Flask)
        state = state_of(app)
        if kind == "api":
            issued = state.authority.issue_api_token(subject, "test client", scopes or ())
            self.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {issued.text}"
        else:
            issued = state.authority.issue_login(subject, claims)
            cookie = state.middleware.cookie
            here = (app.config["SERVER_NAME"] or "localhost").partition(":")[0]
            self.set_cookie(
                cookie.name,
                issued.text,
                domain=(cookie.domain or here).lstrip("."),
                origin_only=cookie.domain is None,
                path=cookie.path,
            )
        self.token = issued.token
        self.token_text = issued.text
