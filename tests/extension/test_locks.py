"""Locks over HTTP: 403 with the lock's own message, and only to whom it is for."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from flask import Flask

from flask_clustertoken import ClusterToken
from flask_clustertoken.clock import ManualClock
from tests.extension.parts import MakeApp, api_text, bearer, cookie, login_text

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
MESSAGE = "Please call the office <4711>."


@pytest.fixture
def site(make_app: MakeApp) -> tuple[Flask, ClusterToken]:
    app, tokens = make_app()

    @app.post("/sign-in/<subject>")
    def sign_in(subject: str) -> str:
        tokens.login(subject)
        return "in"

    return app, tokens


def test_a_locked_login_is_403_with_the_message(site: tuple[Flask, ClusterToken]) -> None:
    """JSON for programs, a page for people, and the cookie stays: it may be good again."""
    app, tokens = site
    client = app.test_client()
    headers = cookie(login_text(app))
    assert client.get("/me", headers=headers).status_code == 200
    with app.app_context():
        tokens.lock(subject="alice", message=MESSAGE)

    answer = client.get("/me", headers=headers)
    assert answer.status_code == 403
    assert answer.get_json() == {"error": "locked", "message": MESSAGE, "reason": "locked"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers

    page = client.get("/me", headers={**headers, "Accept": BROWSER})
    assert page.status_code == 403
    assert "Please call the office &lt;4711&gt;." in page.text


def test_an_api_token_is_refused_while_the_lock_stands(site: tuple[Flask, ClusterToken]) -> None:
    """And good again after the unlock."""
    app, tokens = site
    client = app.test_client()
    headers = bearer(api_text(app))
    with app.app_context():
        tokens.lock(everyone=True)
        assert client.get("/me", headers=headers).get_json()["error"] == "locked"
        assert [(lock.what, lock.until) for lock in tokens.locks()] == [("everyone", None)]
        tokens.unlock(everyone=True)
        assert tokens.locks() == []
    assert client.get("/me", headers=headers).status_code == 200


def test_a_login_of_whom_a_lock_is_for_is_403(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """Raised by ``login()``, behind the app's own check of the password; until its time."""
    app, tokens = site
    client = app.test_client()
    until = datetime.fromtimestamp(clock.time(), timezone.utc) + timedelta(seconds=60)
    with app.app_context():
        tokens.lock(subject="alice", until=until, message=MESSAGE)
    answer = client.post("/sign-in/alice")
    assert (answer.status_code, answer.get_json()["message"]) == (403, MESSAGE)
    assert "Set-Cookie" not in answer.headers
    assert client.post("/sign-in/bob").status_code == 200
    clock.advance(61)
    assert client.post("/sign-in/alice").status_code == 200


def test_a_lock_is_told_only_to_whose_signature_held(site: tuple[Flask, ClusterToken]) -> None:
    """A text that somebody made up says nothing of who is locked."""
    app, tokens = site
    text = login_text(app)
    with app.app_context():
        tokens.lock(everyone=True, message=MESSAGE)
    forged = text[:-4] + ("AAAA" if not text.endswith("AAAA") else "BBBB")
    answer = app.test_client().get("/me", headers=cookie(forged))
    assert answer.status_code == 401
    assert MESSAGE not in answer.text
    assert app.test_client().get("/me").status_code == 401
