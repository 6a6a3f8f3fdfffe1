"""Cross-site request forgery: the whole table, with a cookie, a bearer token and nothing."""

from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_clustertoken import token_required
from flask_clustertoken.extension import state_of
from flask_clustertoken.extension.signals import token_refused
from tests.extension.parts import MakeApp, api_text, bearer, cookie, login_text, texts_set

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
SITES = [None, "same-origin", "none", "same-site", "cross-site", "nonsense"]
ORIGINS = [None, "http://localhost", "https://friend.example", "https://evil.example", "null"]


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    app, _ = make_app(TRUSTED_ORIGINS=["https://Friend.example"])
    return app


def passes(method: str, site: str | None, origin: str | None) -> bool:
    """The table, as it is documented."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return True
    if origin == "https://friend.example":
        return True
    if site is not None:
        return site in ("same-origin", "none")
    return origin in (None, "http://localhost")


def headers_of(site: str | None, origin: str | None) -> dict[str, str]:
    said = {"Sec-Fetch-Site": site, "Origin": origin}
    return {name: value for name, value in said.items() if value is not None}


def test_the_whole_table(app: Flask) -> None:
    """Method × Sec-Fetch-Site × Origin: a cookie counts where the table says so, else 403.

    A bearer token always counts, since no browser adds one by itself; and whoever has nothing
    is told 401 for it, wherever the request came from.
    """
    client = app.test_client()
    login, robot = cookie(login_text(app)), bearer(api_text(app))

    for method in METHODS:
        for site in SITES:
            for origin in ORIGINS:
                case = (method, site, origin)
                said = headers_of(site, origin)

                def status(credentials: dict[str, str]) -> int:
                    headers = {**said, **credentials}  # noqa: B023 - called at once
                    return client.open("/me", method=method, headers=headers).status_code  # noqa: B023

                assert status(login) == (200 if passes(*case) else 403), case
                assert status(robot) == 200, case
                assert status({}) == (200 if method == "OPTIONS" else 401), case


def test_a_forged_request_is_refused_and_changes_nothing(app: Flask) -> None:
    """403, said as what it is; the cookie is neither renewed nor cleared; a signal tells."""
    heard: list[str] = []

    def hear(sender: Flask, refusal: object, **extra: object) -> None:
        heard.append(refusal.detail)  # type: ignore[attr-defined]

    token_refused.connect(hear, app)
    headers = cookie(login_text(app)) | {"Origin": "https://evil.example"}

    answer = app.test_client().post("/me", headers=headers)

    assert answer.status_code == 403
    assert answer.json is not None
    assert answer.json["error"] == "cross_origin"
    assert not texts_set(answer)
    assert heard == ["an unsafe request from a page of another origin"]
    assert app.test_client().post("/maybe", headers=headers).text == "nobody"


@pytest.mark.parametrize("with_cookie", [True, False])
@pytest.mark.parametrize("path", ["/login/mallory", "/logout"])
def test_no_foreign_page_logs_anybody_in_or_out(app: Flask, path: str, with_cookie: bool) -> None:
    """Also where SameSite held the cookie back: the answer would set or clear it."""
    text = login_text(app)
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    if with_cookie:
        headers |= cookie(text)

    answer = app.test_client().post(path, headers=headers)

    assert answer.status_code == 403
    assert answer.json is not None
    assert answer.json["error"] == "cross_origin"
    assert "WWW-Authenticate" not in answer.headers, "no token would help that page"
    assert not texts_set(answer)
    assert app.test_client().get("/me", headers=cookie(text)).status_code == 200


def test_a_trusted_origin_may_log_in(app: Flask) -> None:
    """An identity provider that posts back is named in TRUSTED_ORIGINS."""
    headers = {"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}

    assert app.test_client().post("/login/alice", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://localhost", "localhost", True),
        ("http://LocalHost", "localhost", True),
        ("https://app.example", "app.example:443", True),
        ("http://app.example", "app.example:80", True),
        ("https://app.example", "app.example:80", False),
        ("https://app.example:8443", "app.example:8443", True),
        ("https://app.example:8443", "app.example", False),
        ("https://app.example.evil.example", "app.example", False),
        ("https://evil.example/app.example", "app.example", False),
        ("app.example", "app.example", False),
        ("https://", "app.example", False),
        ("", "app.example", False),
    ],
)
def test_the_origin_is_compared_with_the_host(
    app: Flask, origin: str, host: str, same: bool
) -> None:
    """Without Sec-Fetch-Site, host and port of the origin must be ours; 80 and 443 go unsaid."""
    headers = cookie(login_text(app)) | {"Origin": origin, "Host": host}

    answer = app.test_client().post("/me", headers=headers)

    assert answer.status_code == (200 if same else 403)


def test_a_websocket_handshake_is_no_safe_request(app: Flask) -> None:
    """It is a GET, and yet another origin's page may neither open nor read one with the cookie."""
    app.add_url_rule("/ws", "ws", token_required(lambda: "open"), websocket=True)
    headers = cookie(login_text(app)) | {"Upgrade": "websocket", "Connection": "Upgrade"}
    client = app.test_client()

    assert client.get("/ws", headers=headers | {"Origin": "http://localhost"}).status_code == 200
    assert client.get("/ws", headers=headers | {"Origin": "http://evil.example"}).status_code == 403
    assert client.get("/ws", headers=headers).status_code == 200, "not a browser"


@pytest.mark.parametrize("order", ["outside", "inside"])
def test_the_host_is_the_one_that_proxyfix_says(make_app: MakeApp, order: str) -> None:
    """Behind a proxy, with ProxyFix before or behind the tokens, the outer host counts."""
    app, _ = make_app()
    if order == "outside":
        app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1, x_proto=1, x_port=1)  # type: ignore[method-assign]
    else:
        middleware = state_of(app).middleware
        middleware.wsgi_app = ProxyFix(middleware.wsgi_app, x_host=1, x_proto=1, x_port=1)
    headers = cookie(login_text(app)) | {
        "Host": "10.0.0.7:8000",
        "X-Forwarded-Host": "app.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": "443",
    }
    client = app.test_client()

    ours = client.post("/me", headers=headers | {"Origin": "https://app.example"})
    inner = client.post("/me", headers=headers | {"Origin": "http://10.0.0.7:8000"})

    assert (ours.status_code, inner.status_code) == (200, 403)
