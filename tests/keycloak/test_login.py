"""The code flow against an issuer that says whatever a test wants: what is accepted, what not."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from flask_clustertoken import token_required
from flask_clustertoken.clock import SystemClock
from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak.sessions import begin, labels
from tests.keycloak.app import Make, create_app
from tests.keycloak.flow import HTML, Flow
from tests.keycloak.issuer import Issuer


def test_what_a_login_asks_for(flow: Flow) -> None:
    """Code flow with PKCE, state and nonce; each is new for each login."""
    first = flow.query
    assert first["response_type"] == "code"
    assert first["client_id"] == "app"
    assert first["scope"] == "openid"
    assert first["redirect_uri"] == "http://localhost/keycloak/callback"
    assert first["code_challenge_method"] == "S256"
    flow.begin()
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 32
        assert flow.query[name] != first[name]


def test_what_a_login_becomes(flow: Flow) -> None:
    """The subject is ``sub``; roles are claims; the session is a label; ``auth_time`` is kept."""
    answer = flow.come_back()

    assert answer.status_code == 303
    assert answer.headers["Location"] == "/me"
    assert answer.headers["Cache-Control"] == "no-store"
    me = flow.client.get("/me").json
    assert me["subject"] == "alice"
    assert me["kind"] == "login"
    assert me["roles"] == ["editor"]
    assert me["claims"]["client_roles"] == {"app": ["cook"]}
    assert me["claims"]["name"] == "Alice Anders"
    assert me["labels"][0] == labels.sid_label(flow.issuer.issuer, "sid-1")
    assert time.time() - 20 < me["authenticated_at"] < time.time() - 4


def test_what_the_exchange_sends(flow: Flow) -> None:
    """The verifier of the challenge, the same redirect URI, our session and our host."""
    import base64
    import hashlib

    flow.come_back()

    digest = hashlib.sha256(flow.form["code_verifier"].encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert challenge == flow.query["code_challenge"]
    assert flow.form["redirect_uri"] == flow.query["redirect_uri"]
    assert flow.form["client_session_state"] == labels.session_state(
        flow.client.get("/me").json["labels"]
    )
    assert (
        flow.form["client_session_host"]
        == flow.client.application.extensions["keycloak"].options.node_host
    )
    assert flow.authorization.startswith("Basic ")


def test_a_strict_cookie(issuer: Issuer, config: Make) -> None:
    """A redirect would be part of the navigation that Keycloak began, and a browser would leave
    the cookie out for ever: a page goes on to the target."""
    app = create_app(config(issuer.url, CLUSTERTOKEN_COOKIE_SAMESITE="Strict"))
    flow = Flow(app, issuer)
    flow.begin("/page?a='b'&c=\"d<e>&f=%2F;é")
    flow.issue()

    answer = flow.come_back()

    assert answer.status_code == 200
    assert "Location" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    where = "/page?a=%27b%27&amp;c=%22d%3Ce%3E&amp;f=%2F;%C3%A9"
    assert f'<meta http-equiv="refresh" content="0; url={where}">' in answer.text
    cookies = [one for one in answer.headers.getlist("Set-Cookie") if "clustertoken=" in one]
    assert "SameSite=Strict" in cookies[0]
    assert flow.logged_in
    state_of(app).authority.close()


def test_the_answer_is_used_once(flow: Flow) -> None:
    """The same callback again belongs to no login."""
    assert flow.come_back().status_code == 303
    asked = len(flow.issuer.asked)

    # (The back button: whoever is logged in is not told that something is wrong.)
    again = flow.come_back()
    assert (again.status_code, again.headers["Location"]) == (303, "/")
    assert len(flow.issuer.asked) == asked
    flow.client.delete_cookie("clustertoken")
    assert flow.come_back().status_code == 400


def test_a_callback_of_another_browser(app: Flask, issuer: Issuer, flow: Flow) -> None:
    """An answer that this browser did not ask for logs nobody in (login CSRF)."""
    victim = Flow(app, issuer)
    victim.query = flow.query

    assert victim.come_back().status_code == 400
    assert not victim.logged_in


@pytest.mark.parametrize("state", ["", "x", "no-such-state-at-all", "../..", "é" * 20, "a" * 5000])
def test_a_state_that_is_not_ours(flow: Flow, state: str) -> None:
    """Refused with a page that says so."""
    answer = flow.come_back(state=state)

    assert answer.status_code == 400
    assert "Try again" in answer.text
    assert not flow.logged_in


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("access_denied", 403),
        ("login_required", 403),
        ("temporarily_unavailable", 503),
        ("server_error", 503),
        ("<script>alert(1)</script>", 403),
        ("x" * 500, 403),
    ],
)
def test_keycloak_says_no(flow: Flow, error: str, status: int) -> None:
    """A clear page, nothing of the query in it, and no loop."""
    answer = flow.come_back(code=..., error=error, error_description="<b>boo</b>")

    assert answer.status_code == status
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Try again" in answer.text
    assert "<script>" not in answer.text
    assert "boo" not in answer.text
    assert not flow.logged_in


def test_a_page_of_the_apps_own(issuer: Issuer, config: Make) -> None:
    """What it says of a login that failed is kept by no cache, though it does not say so."""
    app = create_app(config(issuer.url))
    app.register_error_handler(403, lambda error: ("we are sorry", 403))
    flow = Flow(app, issuer)
    flow.begin()

    answer = flow.come_back(code=..., error="access_denied")

    assert (answer.status_code, answer.text) == (403, "we are sorry")
    assert answer.headers["Cache-Control"] == "no-store"
    state_of(app).authority.close()


def test_no_code(flow: Flow) -> None:
    """An answer with neither a code nor an error is refused."""
    assert flow.come_back(code=...).status_code == 403


def test_another_issuers_answer(flow: Flow) -> None:
    """RFC 9207: the answer names who sent it."""
    assert flow.come_back(iss="https://evil.example/realms/demo").status_code == 403
    assert not flow.logged_in


def test_a_login_under_way_of_another_version(app: Flask, flow: Flow) -> None:
    """What its cookie holds may have other fields: it belongs to no login that we know of."""
    adapter = app.extensions["keycloak"]
    state = flow.query["state"]
    text = adapter.sealer.seal({"state": state, "more": 1}, "login", state)
    cookie = next(iter(flow.client._cookies.values()))
    flow.client.set_cookie(cookie.key, text, path=cookie.path)

    assert flow.come_back().status_code == 400


def test_a_login_under_way_shows_no_secret() -> None:
    """Not even in a traceback with values."""
    pending = begin("/page", "http://localhost/callback", SystemClock())

    assert pending.verifier not in repr(pending)
    assert pending.state not in repr(pending)
    assert pending.nonce not in repr(pending)


def test_what_the_options_make_of_a_login(issuer: Issuer, config: Make) -> None:
    """``principal-attribute`` names who it is, ``use-resource-role-mappings`` whose roles count,
    and the host that Keycloak is told is the one that was set."""
    options = {"principal-attribute": "preferred_username", "use-resource-role-mappings": True}
    app = create_app(config(issuer.url, options=options, KEYCLOAK_NODE_HOST="Web7"))
    flow = Flow(app, issuer)
    flow.begin()
    access = issuer.access_token(preferred_username="ali")
    flow.issue(access=issuer.sign(access))
    flow.come_back()

    me = flow.client.get("/me").json

    assert me["claims"]["principal"] == "ali"
    assert me["roles"] == ["cook"]
    assert flow.client.get("/edit").status_code == 403
    assert flow.form["client_session_host"] == "web7"
    state_of(app).authority.close()


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "\t//e"],
)
def test_only_targets_of_our_own(app: Flask, issuer: Issuer, target: str) -> None:
    """After the login a browser is sent to pages of this origin only."""
    flow = Flow(app, issuer)
    flow.begin(target)
    flow.issue()

    assert flow.come_back().headers["Location"] == "/"


def test_a_protected_page(app: Flask) -> None:
    """A person is sent to the login and back to the page; a program is told 401."""
    client = app.test_client()

    person = client.get("/me?x=1", headers=HTML)
    assert person.status_code == 302
    assert person.headers["Location"] == "/keycloak/login?next=/me?x%3D1"
    assert client.get("/me").status_code == 401
    assert client.get("/me", headers={**HTML, "Authorization": "Bearer x"}).status_code == 401


def test_forms_htmx_and_turbo_get_to_keycloak_too(app: Flask) -> None:
    """As to a login view; Turbo, whose scripts cannot go to another origin, by the browser."""
    client = app.test_client()
    app.add_url_rule("/save", "save", token_required(lambda: "saved"), methods=["POST"])
    turbo = {"Accept": "text/html, application/xhtml+xml", "X-Turbo-Request-Id": "1"}
    back = {"Referer": "http://localhost/form", "HX-Current-URL": "http://localhost/form"}

    form = client.post("/save", headers=HTML | back)
    assert (form.status_code, form.location) == (303, "/keycloak/login?next=/form")
    part = client.get("/me", headers={"HX-Request": "true"} | back)
    assert part.status_code == 401
    assert part.headers["HX-Redirect"] == "/keycloak/login?next=/form"
    for headers in (turbo, turbo | {"Turbo-Frame": "news"}):
        answer = client.get(client.get("/me", headers=headers | back).location, headers=headers)
        assert answer.status_code == 200
        assert '<meta name="turbo-visit-control" content="reload">' in answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers, "no login begins before the browser comes"


def test_a_program_is_told_so(issuer: Issuer, config: Make) -> None:
    """``autodetect-bearer-only``: by the headers of Keycloak's Java adapters."""
    app = create_app(config(issuer.url, options={"autodetect-bearer-only": True}))
    client = app.test_client()

    for header in (
        {"X-Requested-With": "XMLHttpRequest"},
        {"Faces-Request": "partial/ajax"},
        {"SOAPAction": "x"},
    ):
        assert client.get("/me", headers={**HTML, **header}).status_code == 401
    assert client.get("/me", headers=HTML).status_code == 302


def test_bearer_only(issuer: Issuer, config: Make) -> None:
    """There is no login page; everything else is there."""
    app = create_app(config(issuer.url, options={"bearer-only": True}))
    client = app.test_client()

    assert client.get("/keycloak/login").status_code == 404
    assert client.get("/me", headers=HTML).status_code == 401
    bearer = {"Authorization": f"Bearer {issuer.sign(issuer.access_token())}"}
    assert client.get("/me", headers=bearer).status_code == 200


def test_an_app_below_a_prefix(issuer: Issuer, config: Make) -> None:
    """Mounted at a path: the callback and its cookies are below it."""
    app = create_app(config(issuer.url))
    flow = Flow(app, issuer, app.test_client())
    mounted = {"SCRIPT_NAME": "/shop"}
    answer = flow.client.get("/keycloak/login", environ_overrides=mounted)
    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert "Path=/shop/keycloak" in cookie
    assert "%2Fshop%2Fkeycloak%2Fcallback" in answer.headers["Location"]
    query = parse_qs(urlsplit(answer.headers["Location"]).query)
    flow.query = {name: values[0] for name, values in query.items()}

    # The app's own start, not the host's.
    refused = flow.client.get("/keycloak/callback?state=x", headers=HTML, environ_overrides=mounted)
    assert '<a href="/shop/">' in refused.text
    flow.issue()
    back = flow.client.get(
        "/keycloak/callback",
        query_string={"code": "c", "state": flow.query["state"]},
        environ_overrides=mounted,
    )
    assert back.headers["Location"] == "/shop/"

    # (Of one's own with url_for(), by the setting, and as the default.)
    for target, expected in (("/shop/bye", "/shop/bye"), (None, "/shop/")):
        out = flow.client.post(
            "/keycloak/logout",
            data={"next": target} if target else {},
            environ_overrides=mounted,
        )
        query = parse_qs(urlsplit(out.headers["Location"]).query)
        assert query.get("post_logout_redirect_uri", [f"http://localhost{expected}"]) == [
            f"http://localhost{expected}"
        ]
        if not query:
            assert out.headers["Location"] == expected
    state_of(app).authority.close()
