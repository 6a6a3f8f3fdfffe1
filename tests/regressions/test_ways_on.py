"""Dead ends after a session's end: a form, htmx and Turbo that got an answer nobody could use.

The whole table: what each kind of client sends, and what it is answered. With the real htmx and
Turbo in a real browser: ``tests/clients``.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask, redirect, request

from flask_clustertoken import safe_target, token_required
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension import state_of
from tests.extension.parts import MakeApp, cookie, login_text, watch

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
TURBO = "text/html, application/xhtml+xml"
HERE = "http://localhost"

#: What each client sends, over a line that is safe (or not, when ``Sec-Fetch-`` is missing).
CLIENTS: dict[str, dict[str, str]] = {
    "navigation": {"Accept": BROWSER, "Sec-Fetch-Mode": "navigate"},
    "navigation, plain": {"Accept": BROWSER},
    "turbo": {"Accept": TURBO, "X-Turbo-Request-Id": "1", "Sec-Fetch-Mode": "same-origin"},
    "turbo 7, plain": {"Accept": TURBO},
    "turbo stream": {"Accept": f"text/vnd.turbo-stream.html, {TURBO}", "Sec-Fetch-Mode": "cors"},
    "frame": {"Accept": TURBO, "X-Turbo-Request-Id": "1", "Turbo-Frame": "news"},
    "htmx 2": {"Accept": "*/*", "HX-Request": "true", "Sec-Fetch-Mode": "cors"},
    "htmx 4": {"Accept": "text/html", "HX-Request": "true", "HX-Request-Type": "partial"},
    "boosted": {"Accept": "*/*", "HX-Request": "true", "HX-Boosted": "true"},
    "history of htmx 2": {
        "Accept": "*/*",
        "HX-Request": "true",
        "HX-History-Restore-Request": "true",
    },
    "history of htmx 4": {
        "Accept": "text/html",
        "HX-Request": "true",
        "HX-Request-Type": "full",
        "HX-History-Restore-Request": "true",
    },
    "fetch": {"Accept": "*/*", "Sec-Fetch-Mode": "cors"},
    "fetch for html": {"Accept": BROWSER, "Sec-Fetch-Mode": "cors"},
    "XMLHttpRequest": {"Accept": BROWSER, "X-Requested-With": "XMLHttpRequest"},
    "program": {"Accept": "application/json"},
}
ON_PAGE = {"Referer": f"{HERE}/list?page=2", "HX-Current-URL": f"{HERE}/list?page=2#row"}

LIST = "/sign-in?next=/list?page%3D2"
ROW = f"{LIST}%23row"
OWN = "/sign-in?next=/me?a%3D1"

#: (status, where to, by which header) of a GET and of a POST that were sent from /list?page=2.
Answer = tuple[int, str | None, str | None]
TABLE: dict[str, tuple[Answer, Answer]] = {
    "navigation": ((302, OWN, "Location"), (303, LIST, "Location")),
    "navigation, plain": ((302, OWN, "Location"), (303, LIST, "Location")),
    "turbo": ((302, OWN, "Location"), (303, LIST, "Location")),
    "turbo 7, plain": ((302, OWN, "Location"), (303, LIST, "Location")),
    "turbo stream": ((302, OWN, "Location"), (303, LIST, "Location")),
    "frame": ((302, LIST, "Location"), (303, LIST, "Location")),
    "htmx 2": ((401, ROW, "HX-Redirect"), (401, ROW, "HX-Redirect")),
    "htmx 4": ((401, ROW, "HX-Redirect"), (401, ROW, "HX-Redirect")),
    "boosted": ((401, OWN, "HX-Redirect"), (401, ROW, "HX-Redirect")),
    "history of htmx 2": ((302, OWN, "Location"), (303, LIST, "Location")),
    "history of htmx 4": ((401, ROW, "HX-Redirect"), (401, ROW, "HX-Redirect")),
    "fetch": ((401, None, None), (401, None, None)),
    "fetch for html": ((401, None, None), (401, None, None)),
    "XMLHttpRequest": ((401, None, None), (401, None, None)),
    "program": ((401, None, None), (401, None, None)),
}


@pytest.fixture
def site(make_app: MakeApp) -> Flask:
    app, _ = make_app(LOGIN_VIEW="sign_in")

    @app.get("/sign-in")
    def sign_in() -> Any:
        return redirect(safe_target(request.args.get("next")))

    return app


def said(answer: Any) -> Answer:
    for header in ("Location", "HX-Redirect"):
        if header in answer.headers:
            return answer.status_code, answer.headers[header], header
    return answer.status_code, None, None


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_finds_the_login_page_and_the_way_back(site: Flask, client: str) -> None:
    """The table of docs/flask, for what asks and for what does something."""
    asks, does = TABLE[client]
    headers = CLIENTS[client] | ON_PAGE

    for method, expected in (("GET", asks), ("POST", does)):
        answer = site.test_client().open("/me?a=1", method=method, headers=headers)

        assert said(answer) == expected, method
        assert answer.headers["Cache-Control"] == "no-store"
        html = "text/html" in CLIENTS[client]["Accept"]
        assert expected[0] != 401 or answer.is_json is not html, "the body goes by Accept"


@pytest.mark.parametrize("client", [one for one, (_, does) in TABLE.items() if does[1]])
@pytest.mark.parametrize("page", ["https://evil.example/list", "http://localhost//evil", "", None])
def test_only_a_page_of_this_origin_is_come_back_to(
    site: Flask, client: str, page: str | None
) -> None:
    """A form that another site sent, or one of a page that says nothing of itself: no ``next``."""
    sent = {} if page is None else {"Referer": page, "HX-Current-URL": page}

    answer = site.test_client().post("/me", headers=CLIENTS[client] | sent)

    assert said(answer)[1] == "/sign-in"


def test_the_apps_own_handler_decides_first(make_app: MakeApp) -> None:
    """``unauthorized_handler`` answers whatever it likes, to every client."""
    app, tokens = make_app(LOGIN_VIEW="sign_in")
    app.add_url_rule("/sign-in", "sign_in", lambda: "")

    @tokens.unauthorized_handler
    def handle(refusal: object) -> Any:
        return "mine", 418

    for headers in CLIENTS.values():
        assert said(app.test_client().get("/me", headers=headers)) == (418, None, None)


# -- 403 and 503 -----------------------------------------------------------------------


@pytest.fixture
def stale(site: Flask, clock: ManualClock) -> tuple[Flask, dict[str, str]]:
    """A node that cannot know, and a login that it cannot judge."""
    store = watch(site)
    text = login_text(site)
    state_of(site).authority.follower().step()
    store.cut_off()
    clock.advance(60)
    return site, cookie(text)


REFRESH = re.compile(r'<meta http-equiv="refresh" content="(\d+)">')


@pytest.mark.parametrize("client", CLIENTS)
def test_a_page_of_503_reloads_itself_and_nothing_is_sent_twice(
    stale: tuple[Flask, dict[str, str]], client: str
) -> None:
    """What asked for a page asks again after ``Retry-After``; what did something never does."""
    app, login = stale
    headers = CLIENTS[client] | ON_PAGE | login
    whole = client.startswith(("navigation", "turbo"))

    asks = app.test_client().get("/me?a=1", headers=headers)
    does = app.test_client().post("/me?a=1", headers=headers)

    for answer in (asks, does):
        assert answer.status_code == 503
        assert "Location" not in answer.headers
        assert "Refresh" not in answer.headers
        assert (answer.headers.get("HX-Reswap") == "none") is (
            "HX-Request" in headers and client != "history of htmx 2"
        )
    assert REFRESH.findall(asks.text) == ([asks.headers["Retry-After"]] if whole else [])
    assert int(asks.headers["Retry-After"]) >= 1, "with a pause"
    assert not REFRESH.search(does.text)
    assert asks.headers.get("HX-Redirect") == ("/me?a=1" if client == "boosted" else None)
    assert "HX-Redirect" not in does.headers


@pytest.mark.parametrize("client", CLIENTS)
def test_403_keeps_everybody_where_they_are(site: Flask, client: str) -> None:
    """A page says it; htmx changes nothing; a boosted link opens that page."""

    @site.get("/robots")
    @token_required(kind="api")
    def robots() -> str:
        return "in"

    headers = CLIENTS[client] | ON_PAGE | cookie(login_text(site))
    answer = site.test_client().get("/robots", headers=headers)

    assert answer.status_code == 403
    assert not REFRESH.search(answer.text)
    assert "This needs an API token." in answer.text
    assert said(answer)[1] == ("/robots" if client == "boosted" else None)


def test_a_frame_gets_its_part_of_the_page(stale: tuple[Flask, dict[str, str]]) -> None:
    """Turbo looks for the frame that it asked for; without one it says "Content missing"."""
    app, login = stale
    headers = CLIENTS["frame"] | login | {"Turbo-Frame": 'a"><script>'}

    answer = app.test_client().get("/me?a=1", headers=headers)

    assert '<turbo-frame id="a&#34;&gt;&lt;script&gt;">' in answer.text.replace("&quot;", "&#34;")
    assert '<a href="/me?a=1">Try again</a>' in answer.text
    assert "<script>" not in answer.text


def test_no_address_leads_a_boosted_link_to_another_host(site: Flask) -> None:
    """``//evil.example/…`` is a path of this app, and another host to a browser."""
    site.add_url_rule("/<path:rest>", "any", token_required(lambda rest: rest))
    site.url_map.merge_slashes = False
    headers = CLIENTS["boosted"]

    path = {"PATH_INFO": "//evil.example/x"}
    answer = site.test_client().get("/", headers=headers, environ_overrides=path)

    assert said(answer) == (401, "/sign-in", "HX-Redirect")


def test_without_a_login_view_nobody_is_sent_anywhere(make_app: MakeApp) -> None:
    """401 for all; a boosted link opens as the browser opens it, and shows that."""
    app, _ = make_app()
    for name, headers in CLIENTS.items():
        expected = (401, "/me", "HX-Redirect") if name == "boosted" else (401, None, None)
        assert said(app.test_client().get("/me", headers=headers)) == expected
