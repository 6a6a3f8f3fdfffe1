"""A request that waits for its body outlived the revocation of the login that it stands on.

Seen on commit e2b12ff: whoever had a stolen cookie sent a request slowly, let its owner press "log
out everywhere", finished the body, and had a login of thirty days or an API token without end.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask, request

from flask_clustertoken import ClusterToken, current_token, token_required
from tests.slow_views import add_slow_views


class Parked:
    """The app of slow views, in this process; *meanwhile* is what happens while the body comes."""

    def __init__(self, folder: Path, token_store: str) -> None:
        app = self.app = Flask("parked")
        app.config.update(
            CLUSTERTOKEN_STORE=f"directory://{folder}",
            CLUSTERTOKEN_SECRET="S" * 40,
            CLUSTERTOKEN_COOKIE_SECURE=False,
            CLUSTERTOKEN_TOKEN_STORE=token_store,
        )
        tokens = self.tokens = ClusterToken(app)
        self.meanwhile: Callable[[], object] | None = None

        def body() -> None:
            work, self.meanwhile = self.meanwhile, None
            if work is not None:
                work()
            request.get_data()

        @app.post("/login")
        def login() -> str:
            return tokens.login("alice", labels=["idp:1"]).id

        add_slow_views(app, tokens, body)

        @app.post("/still")
        @token_required
        def still() -> dict[str, object]:
            body()
            first = current_token.still(strict="strict" in request.args)
            return {"still": first, "there": bool(current_token)}

        @app.get("/me")
        @token_required
        def me() -> str:
            return str(current_token.subject)

    def thief(self) -> tuple[str, str]:
        """A login's id, and its cookie as somebody else has it."""
        client = self.app.test_client()
        token_id = client.post("/login").text
        found = client.get_cookie("clustertoken")
        assert found is not None
        return token_id, found.value


END: dict[str, Callable[[Parked, str], object]] = {
    "id": lambda parked, token_id: parked.tokens.revoke(token_id),
    "label": lambda parked, token_id: parked.tokens.revoke_label("idp:1"),
    "subject": lambda parked, token_id: parked.tokens.revoke_subject("alice", ("login", "api")),
    "everything": lambda parked, token_id: parked.tokens.revoke_all(("login", "api")),
}


@pytest.mark.parametrize("token_store", ["session", "cookie"])
@pytest.mark.parametrize("what", ["/others", "/again", "/api-token"])
@pytest.mark.parametrize("end", END)
def test_nothing_is_made_of_a_login_that_ended_while_the_body_came(
    tmp_path: Path, token_store: str, what: str, end: str
) -> None:
    """The answer is that of a revoked token, and neither a cookie nor a text is in it."""
    parked = Parked(tmp_path, token_store)
    token_id, text = parked.thief()

    def meanwhile() -> None:
        with parked.app.app_context():
            assert END[end](parked, token_id).confirm()  # type: ignore[attr-defined]

    parked.meanwhile = meanwhile
    client = parked.app.test_client()
    client.set_cookie("clustertoken", text)
    answer = client.post(what, data="x", headers={"Accept": "application/json"})
    assert answer.status_code == 401
    assert answer.json["reason"] == "revoked"
    assert "Set-Cookie" not in answer.headers
    assert client.get("/me").status_code == 401


@pytest.mark.parametrize("token_store", ["session", "cookie"])
def test_the_owner_stays_who_logged_the_thief_out(tmp_path: Path, token_store: str) -> None:
    """Both press "log out my other browsers" with the same login: whose step comes first has it."""
    parked = Parked(tmp_path, token_store)
    _, text = parked.thief()
    owner, thief = parked.app.test_client(), parked.app.test_client()
    for one in (owner, thief):
        one.set_cookie("clustertoken", text)

    def meanwhile() -> None:
        assert owner.post("/others").status_code == 200

    parked.meanwhile = meanwhile
    assert thief.post("/others").status_code == 401
    assert owner.get("/me").status_code == 200
    assert thief.get("/me").status_code == 401


@pytest.mark.parametrize("token_store", ["session", "cookie"])
@pytest.mark.parametrize("query", ["", "?strict"])
def test_an_app_can_ask_again_behind_a_long_body(
    tmp_path: Path, token_store: str, query: str
) -> None:
    """``current_token.still()``: once it is not good any more, the rest goes by that."""
    parked = Parked(tmp_path, token_store)
    _, text = parked.thief()
    client = parked.app.test_client()
    client.set_cookie("clustertoken", text)
    assert client.post("/still" + query).json == {"still": True, "there": True}

    def meanwhile() -> None:
        with parked.app.app_context():
            parked.tokens.revoke_subject("alice")

    parked.meanwhile = meanwhile
    assert client.post("/still" + query).json == {"still": False, "there": False}


def test_a_password_that_was_changed_meanwhile_logs_nobody_in(tmp_path: Path) -> None:
    """Without ``login_begins()`` the request's beginning counts, before anything was checked."""
    parked = Parked(tmp_path, "session")

    @parked.app.post("/slow-login")
    def slow_login() -> str:
        # The old password is right; then it is changed, and everything logged out.
        parked.tokens.revoke_subject("alice")
        return parked.tokens.login("alice").id

    parked.thief()
    client = parked.app.test_client()
    assert client.post("/slow-login").status_code == 401
    assert client.post("/login").status_code == 200
