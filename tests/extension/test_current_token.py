"""``current_token`` and its user: in views, templates, tests, and where there is no request."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from flask import Flask, render_template_string

from flask_clustertoken import (
    ClusterToken,
    Token,
    current_token,
    fresh_login_required,
    require_token,
    testing,
    token_required,
)
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import NotAllowed
from flask_clustertoken.extension import NotEnough
from flask_clustertoken.extension.testing import TokenClient
from tests.extension.parts import MakeApp, api_text, bearer, cookie, login_text, watch


def is_empty() -> bool:
    fields = ["token", "id", "subject", "kind", "issued_at", "authenticated_at", "expires_at"]
    return (
        not current_token
        and all(getattr(current_token, name) is None for name in [*fields, "user"])
        and current_token.claims == {}
        and current_token.labels == current_token.scopes == ()
        and current_token.refusal is not None
        and current_token.refusal.reason == "missing"
    )


def test_it_is_empty_outside_a_request(site: tuple[Flask, ClusterToken]) -> None:
    """Outside a request, and in one that did not come through the app, nobody is logged in."""
    app, _ = site

    assert is_empty()
    with app.app_context():
        assert is_empty()
    with app.test_request_context(headers=cookie(login_text(app))):
        assert is_empty()
    with Flask("bare").test_request_context():
        assert is_empty()


def test_it_has_the_fields_of_the_token(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """Each field of the token can be read from the proxy."""
    app, _ = site
    seen: list[Token] = []

    @app.get("/fields")
    def fields() -> str:
        token = current_token.token
        assert token is not None
        for name in ("id", "subject", "kind", "claims", "labels", "scopes", "issued_at"):
            assert getattr(current_token, name) == getattr(token, name), name
        assert current_token.authenticated_at == token.authenticated_at
        assert current_token.expires_at == token.expires_at
        assert current_token.refusal is None
        seen.append(token)
        return repr(current_token)

    text = login_text(app, claims={"role": "editor"}, labels=["provider:1"])
    answer = app.test_client().get("/fields", headers=cookie(text))

    (token,) = seen
    assert token.claims == {"role": "editor"}
    assert token.labels == ("provider:1",)
    assert token.issued_at == int(clock.time())
    assert text not in answer.text


def test_it_is_there_in_templates(site: tuple[Flask, ClusterToken]) -> None:
    """Templates, also imported macros, know ``current_token`` without being given it."""
    app, _ = site

    @app.get("/page")
    def page() -> str:
        return render_template_string(
            "{% macro who() %}{{ current_token.subject if current_token else 'you' }}{% endmacro %}"
            "Hello {{ who() }}"
        )

    client = app.test_client()

    assert client.get("/page").text == "Hello you"
    assert client.get("/page", headers=cookie(login_text(app, "<alice>"))).text == (
        "Hello &lt;alice&gt;"
    )


def test_it_says_why_a_token_was_not_accepted(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """``refusal.reason`` is one of five words, and no more than the signature allows is told."""
    app, _ = site

    @app.get("/why")
    def why() -> str:
        refusal = current_token.refusal  # itself falsy: it is compared with None
        return "fine" if refusal is None else refusal.reason

    client = app.test_client()

    def reason(text: str) -> str:
        return client.get("/why", headers=cookie(text)).text

    good, ended = login_text(app), login_text(app)
    client.post("/logout", headers=cookie(ended))

    assert client.get("/why").text == "missing"
    assert reason(good) == "fine"
    assert reason(ended) == "revoked"
    assert reason(good[:-1] + ("A" if good[-1] != "A" else "B")) == "invalid"
    clock.advance(8 * 86_400)
    assert reason(good) == "expired"
    assert reason(good[:-1] + ("A" if good[-1] != "A" else "B")) == "invalid"


def test_a_look_is_taken_once_a_request(site: tuple[Flask, ClusterToken]) -> None:
    """However often a request asks, the token is judged once; the next request judges anew."""
    app, _ = site
    authority = app.extensions["clustertoken"].authority
    judged: list[str] = []
    authenticate = authority.authenticate
    authority.authenticate = lambda text, kind, **more: (
        judged.append(text) or authenticate(text, kind, **more)
    )

    @app.get("/often")
    @token_required
    def often() -> str:
        return f"{bool(current_token)} {current_token.subject} {require_token().subject}"

    headers = cookie(login_text(app))
    app.test_client().get("/often", headers=headers)
    assert len(judged) == 1
    app.test_client().get("/often", headers=headers)
    assert len(judged) == 2


def test_the_user_is_loaded_once_a_request(site: tuple[Flask, ClusterToken]) -> None:
    """The loader is asked once in a request, and again in the next, also in one app context."""
    app, tokens = site
    loaded: list[str] = []

    @tokens.user_loader
    def load(token: Token) -> dict[str, str]:
        loaded.append(token.subject)
        return {"name": token.subject.title()}

    @app.get("/user")
    def user() -> str:
        return f"{current_token.user and current_token.user['name']} {current_token.user}"

    client, headers = app.test_client(), cookie(login_text(app))

    assert client.get("/user").text == "None None"
    assert not loaded
    with app.app_context():
        client.get("/user", headers=headers)
        assert loaded == ["alice"]
        client.get("/user", headers=headers)
        assert loaded == ["alice", "alice"]


def test_the_user_loader_may_be_async(site: tuple[Flask, ClusterToken]) -> None:
    """A coroutine function gives the user it returns, as an async view gives its answer."""
    app, tokens = site

    @tokens.user_loader
    async def load(token: Token) -> str:
        return token.subject.title()

    @app.get("/user")
    def user() -> str:
        return str(current_token.user)

    assert app.test_client().get("/user", headers=cookie(login_text(app))).text == "Alice"


def test_the_user_follows_a_login_in_the_same_request(site: tuple[Flask, ClusterToken]) -> None:
    """After ``login`` the user is the new one, after ``logout`` there is none."""
    app, tokens = site
    tokens.user_loader(lambda token: token.subject)

    @app.post("/change")
    def change() -> list[str | None]:
        users = [current_token.user]
        tokens.login("bob")
        users.append(current_token.user)
        tokens.logout()
        return [*users, current_token.user]

    answer = app.test_client().post("/change", headers=cookie(login_text(app)))

    assert answer.json == ["alice", "bob", None]


def test_acting_as_logs_somebody_in_around_a_request_context(
    site: tuple[Flask, ClusterToken],
) -> None:
    """Within ``acting_as`` a view's function can be called; behind it nobody is logged in."""
    app, tokens = site
    tokens.user_loader(lambda token: token.subject.title())

    @fresh_login_required(60)
    def vault() -> str:
        return f"{current_token.user}: {current_token.claims['role']}"

    with app.test_request_context():
        with tokens.acting_as("alice", {"role": "editor"}) as token:
            assert current_token.token is token
            assert vault() == "Alice: editor"
            with tokens.acting_as("robot", kind="api", scopes=["read"]):
                assert require_token(scopes=["read"]).subject == "robot"
                with pytest.raises(NotEnough):
                    require_token(scopes=["write"])
            assert current_token.subject == "alice"
        assert not current_token


def test_acting_as_speaks_also_where_code_logs_in_and_out(
    site: tuple[Flask, ClusterToken],
) -> None:
    """In a request that was built by hand they go by who acts, and so does what comes after."""
    app, tokens = site
    elsewhere = cookie(login_text(app))

    with app.test_request_context():
        with tokens.acting_as("alice"):
            since = tokens.login_begins()
            assert current_token.subject == "alice"
            assert require_token(strict=True).subject == "alice"
            assert tokens.logout_everywhere() is not None
            assert not current_token
        with tokens.acting_as("carol"):
            assert current_token.subject == "carol"
        assert not current_token
        with tokens.acting_as("carol"):
            tokens.login("bob", since=since)
            assert current_token.subject == "bob"
        assert current_token.subject == "bob"
    assert app.test_client().get("/me", headers=elsewhere).status_code == 401


def test_whoever_acts_as_a_program_neither_logs_in_nor_out(
    site: tuple[Flask, ClusterToken],
) -> None:
    """As with its bearer token in a real request."""
    app, tokens = site

    with app.test_request_context(), tokens.acting_as("robot", scopes=["read"]) as token:
        assert (token.kind, token.scopes) == ("api", ("read",))
        with pytest.raises(NotAllowed):
            tokens.login("robot")
        with pytest.raises(NotAllowed):
            tokens.logout_everywhere()


@pytest.mark.parametrize(
    ("error", "given"),
    [
        (ValueError, {"subject": "alice", "kind": "bogus"}),
        (ValueError, {"subject": "alice", "kind": "login", "scopes": ["read"]}),
        (TypeError, {"subject": "alice", "scopes": "read"}),
        (TypeError, {"scopes": ["read"]}),
        (TypeError, {"kind": "login"}),
        (TypeError, {"claims": {"role": "editor"}}),
        (ValueError, {"subject": "robot", "kind": "api", "claims": {"role": "editor"}}),
    ],
)
def test_a_test_client_that_contradicts_itself_is_an_error(
    site: tuple[Flask, ClusterToken], error: type[Exception], given: dict[str, Any]
) -> None:
    """A test that asks for what does not exist would pass for the wrong reason."""
    app, tokens = site
    app.test_client_class = TokenClient

    with pytest.raises(error):
        app.test_client(**given)
    if "subject" in given and "claims" not in given:
        with pytest.raises(error), tokens.acting_as(**given):
            pass


def test_both_kinds_of_testing_come_from_one_place() -> None:
    """``flask_clustertoken.testing`` has the client, and without Flask the contract."""
    assert testing.TokenClient is TokenClient
    assert "TokenClient" in dir(testing)
    with pytest.raises(AttributeError, match="Nothing"):
        testing.Nothing  # type: ignore[attr-defined]  # noqa: B018
    program = "import sys, flask_clustertoken.testing; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert "flask" not in loaded


def test_acting_as_has_no_say_over_real_requests(site: tuple[Flask, ClusterToken]) -> None:
    """What comes through the app is judged by what it carries, whoever acts around it."""
    app, tokens = site

    with tokens.acting_as("alice"):
        assert app.test_client().get("/maybe").text == "nobody"


def test_the_test_client_comes_logged_in(site: tuple[Flask, ClusterToken]) -> None:
    """``test_client(subject=…)`` has a real token: it is judged, and it can be ended."""
    app, _ = site
    app.test_client_class = TokenClient
    client = app.test_client(subject="alice", claims={"role": "editor"})

    assert client.token is not None
    assert client.token.subject == "alice"
    assert client.get("/me").json == {"subject": "alice", "kind": "login"}
    client.post("/logout")
    assert client.get("/me").status_code == 401


def test_the_test_client_may_be_a_robot(site: tuple[Flask, ClusterToken]) -> None:
    """With scopes, or with ``kind="api"``, it carries an API token."""
    app, _ = site
    app.test_client_class = TokenClient

    @app.get("/read")
    @token_required(kind="api", scopes=["read"])
    def read() -> str:
        return "read"

    assert app.test_client(subject="robot", scopes=["read"]).get("/read").text == "read"
    assert app.test_client(subject="robot", kind="api").get("/read").status_code == 403
    assert app.test_client(subject="alice").get("/read").status_code == 403
    assert app.test_client(subject="robot", kind="api").get("/me").json == {
        "subject": "robot",
        "kind": "api",
    }


def test_the_test_client_without_a_subject_is_a_stranger(site: tuple[Flask, ClusterToken]) -> None:
    """Nobody is logged in unless it is said who."""
    app, _ = site
    app.test_client_class = TokenClient
    client = app.test_client()

    assert client.token is None
    assert client.token_text is None
    assert client.get("/me").status_code == 401


@pytest.mark.parametrize(
    ("settings", "config", "base"),
    [
        ({}, {"SERVER_NAME": "app.example:8443"}, None),
        ({"COOKIE_DOMAIN": "example.com"}, {}, "https://app.example.com"),
        ({"COOKIE_SECURE": False}, {}, None),
        ({"COOKIE_PATH": "/me"}, {}, None),
    ],
)
def test_the_test_client_finds_its_way(
    make_app: MakeApp, settings: dict[str, object], config: dict[str, str], base: str | None
) -> None:
    """Its cookie goes where the app's own cookie would, with any domain, path and server name."""
    app, _ = make_app(**settings)
    app.config.update(config)
    app.test_client_class = TokenClient

    answer = app.test_client(subject="alice").get("/me", base_url=base)

    assert answer.status_code == 200


def test_a_bearer_token_decides_over_a_cookie(site: tuple[Flask, ClusterToken]) -> None:
    """With both, the bearer token alone is judged: a bad one is not healed by a good cookie."""
    app, _ = site
    client = app.test_client()
    login = cookie(login_text(app, "alice"))

    assert client.get("/maybe", headers=login | bearer(api_text(app, "robot"))).text == "robot"
    assert client.get("/me", headers=login | bearer("ctk_nonsense")).status_code == 401
    assert client.get("/maybe", headers=login | {"Authorization": "Basic YTpi"}).text == "alice"


def test_one_kind_never_passes_for_another(site: tuple[Flask, ClusterToken]) -> None:
    """A login token as a bearer token, and an API token in the cookie, are refused."""
    app, _ = site
    client = app.test_client()
    login, api = login_text(app), api_text(app)

    for headers in (bearer(login), cookie(api)):
        assert client.get("/maybe", headers=headers).text == "nobody"
        assert client.get("/me", headers=headers).status_code == 401
    # Also once both were seen and remembered.
    client.get("/me", headers=cookie(login))
    client.get("/me", headers=bearer(api))
    for headers in (bearer(login), cookie(api)):
        assert client.get("/me", headers=headers).status_code == 401


def test_looking_is_what_costs(site: tuple[Flask, ClusterToken]) -> None:
    """A request on which nobody looked makes no call to the store, whatever it carries."""
    app, _ = site
    store = watch(app)
    text = login_text(app)
    store.calls.clear()

    answer = app.test_client().get("/public", headers=cookie(text))

    assert answer.status_code == 200
    assert not store.calls
