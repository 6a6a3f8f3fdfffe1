"""Views for each thing that is made of a login; each reads its request's body last."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from flask_clustertoken import ClusterToken, current_token, token_required


def add_slow_views(app: Flask, tokens: ClusterToken, body: Callable[[], None]) -> None:
    """Each looks at its token, reads the *body*, and makes something on the token's strength."""

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
