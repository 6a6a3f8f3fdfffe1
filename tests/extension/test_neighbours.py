"""Flask-Login and Flask-WTF beside us."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from flask import Flask, render_template_string
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_wtf.csrf import CSRFProtect, generate_csrf

from flask_clustertoken import ClusterToken, current_token
from flask_clustertoken.extension import state_of
from tests.extension.parts import (
    COOKIE,
    MakeApp,
    api_text,
    bearer,
    cookie,
    login_text,
    texts_set,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:flask_login.*")


class User(UserMixin):
    def __init__(self, name: str) -> None:
        self.id = name


@pytest.fixture
def site(make_app: MakeApp) -> tuple[Flask, ClusterToken]:
    """An app with Flask-Login, whose users come from our tokens."""
    app, tokens = make_app()
    app.secret_key = "flask's own"
    manager = LoginManager(app)

    @manager.request_loader
    def load(request: Any) -> User | None:
        return User(current_token.subject) if current_token.subject else None

    @app.get("/profile")
    @login_required
    def profile() -> str:
        return render_template_string("{{ current_user.id }}")

    @app.post("/old-login")
    def old_login() -> str:
        login_user(User("alice"))
        return str(current_user.id)

    return app, tokens


def test_flask_login_finds_its_user_by_our_token(site: tuple[Flask, ClusterToken]) -> None:
    """``current_user`` and ``login_required`` work, and end everywhere with the token."""
    app, _ = site
    client = app.test_client()
    text = login_text(app)

    assert client.get("/profile").status_code == 401
    assert client.get("/profile", headers=cookie(text)).text == "alice"
    assert client.get("/profile", headers=bearer(api_text(app, "robot"))).text == "robot"
    with app.app_context():
        state_of(app).authority.revoke_subject("alice")
    assert client.get("/profile", headers=cookie(text)).status_code == 401


def test_flask_login_leaves_no_login_of_its_own(site: tuple[Flask, ClusterToken]) -> None:
    """A user found by our token is not written into Flask's session."""
    app, _ = site

    answer = app.test_client().get("/profile", headers=cookie(login_text(app)))

    assert not texts_set(answer, "session")


def test_login_user_is_warned_of_once(site: tuple[Flask, ClusterToken]) -> None:
    """A login that Flask-Login makes itself outlives every revocation: the first one is told."""
    app, _ = site

    with pytest.warns(UserWarning, match=r"tokens\.login\(subject\)"):
        assert app.test_client().post("/old-login").text == "alice"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert app.test_client().post("/old-login").text == "alice"


def test_an_app_without_flask_login_connects_nothing(make_app: MakeApp) -> None:
    """The neighbour's module may be loaded for another app."""
    from flask_login import user_logged_in

    before = len(user_logged_in.receivers)
    app, _ = make_app()
    app.test_client().get("/public")

    assert len(user_logged_in.receivers) == before


@pytest.fixture
def protected(make_app: MakeApp) -> Flask:
    """An app with Flask-WTF's CSRF protection for everything but bearer tokens."""
    app, _ = make_app()
    app.secret_key = "flask's own"
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    csrf = CSRFProtect(app)

    @app.before_request
    def protect() -> None:
        if current_token.kind != "api":
            csrf.protect()

    app.get("/csrf")(generate_csrf)
    return app


def test_bearer_requests_need_no_csrf_token(protected: Flask) -> None:
    """An *accepted* API token is exempt; the mere header is not, and a cookie never is."""
    client = protected.test_client()
    robot, login = bearer(api_text(protected)), cookie(login_text(protected))

    assert client.post("/me", headers=robot).status_code == 200
    assert client.post("/me", headers=bearer("nonsense")).status_code == 400
    assert client.post("/me", headers=login).status_code == 400
    assert client.post("/me", headers=login | bearer("nonsense")).status_code == 400


def test_cookies_need_the_csrf_token_that_they_got(protected: Flask) -> None:
    """With the token of a form the same request passes."""
    client = protected.test_client()
    client.set_cookie(COOKIE, login_text(protected))
    csrf_token = client.get("/csrf").text

    assert client.post("/me").status_code == 400
    assert client.post("/me", headers={"X-CSRFToken": csrf_token}).status_code == 200
