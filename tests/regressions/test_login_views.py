"""Login views that failed or led in a circle for each visitor, and ways back that lost the host."""

from __future__ import annotations

from functools import wraps
from typing import Any

import pytest
from flask import Blueprint, Flask, g, redirect, request
from flask.views import MethodView

from flask_clustertoken import (
    fresh_login_required,
    require_token,
    safe_target,
    token_policy,
    token_required,
)
from flask_clustertoken.errors import ConfigurationError
from tests.extension.parts import MakeApp

HTML = {"Accept": "text/html"}


def needs_a_value(app: Flask) -> None:
    app.add_url_rule("/<lang>/form", "form", lambda lang: "form")


def takes_only_post(app: Flask) -> None:
    app.add_url_rule("/form", "form", lambda: "form", methods=["POST"])


def is_protected(app: Flask) -> None:
    app.add_url_rule("/form", "form", token_required(lambda: "form"))


def needs_a_fresh_login(app: Flask) -> None:
    app.add_url_rule("/form", "form", fresh_login_required(max_age=60)(lambda: "form"))


def is_a_protected_class(app: Flask) -> None:
    class Form(MethodView):
        @token_required
        def get(self) -> str:
            return "form"

    app.add_url_rule("/form", view_func=Form.as_view("form"))


def is_behind_a_protected_hook(app: Flask) -> None:
    app.add_url_rule("/form", "form", lambda: "form")

    @app.before_request
    @token_required
    def only_for_users() -> None:
        pass


WRONG = {
    needs_a_value: r"values that nobody gives: lang.*url_defaults",
    takes_only_post: "does not answer GET",
    is_protected: "needs a login itself.*token_required",
    needs_a_fresh_login: "needs a login itself",
    is_a_protected_class: "needs a login itself",
    is_behind_a_protected_hook: r"only_for_users\(\) of before_request.*request\.endpoint",
}


@pytest.mark.parametrize("build", WRONG)
def test_a_login_view_that_lets_nobody_in_stops_the_first_request(
    make_app: MakeApp, build: Any
) -> None:
    """The error names the setting and the remedy; no visitor finds out by a page that fails."""
    app, _ = make_app(LOGIN_VIEW="form")
    build(app)

    with pytest.raises(ConfigurationError, match=f"LOGIN_VIEW.*{WRONG[build]}"):
        app.test_client().get("/public")


def test_a_blueprints_protected_hook_is_found_too(make_app: MakeApp) -> None:
    """Also that of a blueprint around the view's own."""
    app, _ = make_app(LOGIN_VIEW="outer.inner.form")
    outer, inner = Blueprint("outer", "outer", url_prefix="/o"), Blueprint("inner", "inner")
    inner.add_url_rule("/form", "form", lambda: "form")
    outer.before_request(token_required(lambda: None))
    outer.register_blueprint(inner)
    app.register_blueprint(outer)

    with pytest.raises(ConfigurationError, match="before_request needs a login"):
        app.test_client().get("/public")


def test_login_views_that_work_are_let_be(make_app: MakeApp) -> None:
    """Values by ``url_defaults`` or by the rule itself; a policy is no demand; a wrapper around a
    protected hook may let the login pass."""
    app, _ = make_app("values", LOGIN_VIEW="form")

    @app.url_defaults
    def language(endpoint: str, values: dict[str, Any]) -> None:
        if app.url_map.is_endpoint_expecting(endpoint, "lang"):
            values.setdefault("lang", g.lang)

    @app.before_request
    def german() -> None:
        g.lang = "de"

    app.add_url_rule("/<lang>/form", "form", lambda lang: "form")
    answer = app.test_client().get("/me", headers=HTML)
    assert answer.location == "/de/form?next=/me"

    app, _ = make_app("wrapped", LOGIN_VIEW="form")
    form = token_policy(slide=False)(lambda page: f"form {page}")
    app.add_url_rule("/form", "form", form, defaults={"page": 1})

    def but_for_the_login(hook: Any) -> Any:
        @wraps(hook)
        def checked() -> Any:
            return None if request.endpoint == "form" else hook()

        return checked

    app.before_request(but_for_the_login(token_required(lambda: None)))

    client = app.test_client()
    assert client.get("/public", headers=HTML).location == "/form?next=/public"
    assert client.get("/form", headers=HTML).text == "form 1"


def test_a_login_view_that_is_refused_at_last_leads_to_no_circle(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """What no look at the app can find: there it is a 401, and the log names the setting."""
    app, _ = make_app(LOGIN_VIEW="form")

    @app.get("/form")
    def form() -> str:
        return f"form for {require_token().subject}"

    answer = app.test_client().get("/form", headers=HTML)

    assert answer.status_code == 401
    assert "LOGIN_VIEW: 'form' needs a login itself" in caplog.text


def test_defaults_that_give_nothing_are_a_401_and_not_a_500(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """``url_defaults`` that leave a value out cannot be found at the start."""
    app, _ = make_app(LOGIN_VIEW="form")
    app.url_defaults(lambda endpoint, values: None)
    app.add_url_rule("/<lang>/form", "form", lambda lang: "form")

    answer = app.test_client().get("/me", headers=HTML)

    assert answer.status_code == 401
    assert "LOGIN_VIEW: the address of 'form' cannot be built" in caplog.text


# -- the way back ----------------------------------------------------------------------


@pytest.fixture
def subdomains(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> Flask:
    def init(self: Flask, *args: Any, **more: Any) -> None:
        more["subdomain_matching"] = True
        plain(self, *args, **more)

    plain = Flask.__init__
    monkeypatch.setattr(Flask, "__init__", init)
    app, _ = make_app(
        LOGIN_VIEW="form",
        COOKIE_DOMAIN="example.com",
        TRUSTED_ORIGINS=["https://friend.example"],
    )
    app.config["SERVER_NAME"] = "example.com"
    app.url_map.default_subdomain = ""
    app.add_url_rule("/form", "form", lambda: redirect(safe_target(request.args.get("next"))))
    app.add_url_rule("/p", "p", token_required(lambda: "p"), subdomain="admin")
    return app


def test_the_way_back_from_a_login_at_another_host_knows_the_host(subdomains: Flask) -> None:
    """A page of ``admin.``, a login view at the domain itself: ``next`` is a whole URL."""
    client = subdomains.test_client()

    answer = client.get("/p?x=1", base_url="https://admin.example.com", headers=HTML)

    assert answer.location == "https://example.com/form?next=https://admin.example.com/p?x%3D1"
    back = client.get(answer.location)
    assert back.location == "https://admin.example.com/p?x=1"


GOOD = ["https://admin.example.com/p", "https://example.com/", "https://friend.example/x?y=1"]
BAD = [
    "http://admin.example.com/p",  # in the clear
    "https://admin.example.com:8443/p",  # another server, perhaps another's
    "https://evilexample.com/",
    "https://example.com.evil.example/",
    "https://evil.example/.example.com",
    "https://evil.example?.example.com",
    "https://evil.example#.example.com",
    "https://evil.example\\.example.com",
    "https://user@admin.example.com/",
    "https://evil.example:443@admin.example.com/",
    "https://admin.example.com@evil.example/",
    "https://evil.example%2f.example.com/",
    "https://evil.example;.example.com/",
    "https://-.example.com/",
    "https://.example.com/",
    "https://admin.example.com./",
    "https://evil\uff0eexample.com/",
    "https:admin.example.com",
    "https:/admin.example.com/",
    "//admin.example.com/p",
    "ftp://admin.example.com/",
    "javascript://admin.example.com/%0aalert(1)",
    "http://friend.example/",
    "https://friend.example:444/",
    "https://sub.friend.example/",
]


@pytest.mark.parametrize("target", GOOD)
def test_a_page_of_the_realm_is_a_safe_target(subdomains: Flask, target: str) -> None:
    """Within the cookie's domain, or of an origin that was named."""
    with subdomains.test_request_context(base_url="https://www.example.com"):
        assert safe_target(target, "/home") == target


@pytest.mark.parametrize("target", BAD)
def test_a_page_outside_the_realm_is_none(subdomains: Flask, target: str) -> None:
    """Neither what looks like the domain, nor another scheme, port or name."""
    with subdomains.test_request_context(base_url="https://www.example.com"):
        assert safe_target(target, "/home") == "/home"


def test_without_a_domain_only_this_origin_is(make_app: MakeApp) -> None:
    """A cookie of one host is no reason to go to another."""
    app, _ = make_app()
    with app.test_request_context(base_url="https://www.example.com"):
        assert safe_target("https://admin.example.com/p", "/home") == "/home"
        assert safe_target("https://www.example.com/p", "/home") == "/p"


def test_the_way_to_the_login_is_short(make_app: MakeApp) -> None:
    """A page with kilobytes of query is left out of ``next``: proxies refuse such a header."""
    app, _ = make_app(LOGIN_VIEW="form")
    app.add_url_rule("/form", "form", lambda: "form")
    client = app.test_client()

    assert client.get(f"/me?{'a' * 9000}", headers=HTML).location == "/form"
    kept = client.get(f"/me?{'a' * 1900}", headers=HTML).location
    assert kept.endswith("a" * 1900)


def test_the_way_back_is_to_the_very_page(make_app: MakeApp) -> None:
    """Characters that mean something in a URL, and those of other scripts, arrive as they were."""
    app, _ = make_app(LOGIN_VIEW="form")
    app.add_url_rule("/form", "form", lambda: redirect(safe_target(request.args.get("next"))))
    app.add_url_rule("/p/<path:name>", "p", token_required(lambda name: name))
    client = app.test_client()

    answer = client.get("/p/a%23b%3Fc%25d/%C3%BC?x=%26", headers=HTML)

    assert client.get(answer.location).location == "/p/a%23b%3Fc%25d/%C3%BC?x=%26"
