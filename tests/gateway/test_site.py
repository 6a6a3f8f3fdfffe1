"""Real proxies in front of a Flask app, a Node service and a Go service: one login for all.

What runs here is what the docs show, with the ports of this run.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import unquote

import pytest

from tests.conftest import Tell
from tests.gunicorn.server import COOKIE
from tests.rounds import rounds
from tests.servers.running import started
from tests.waiting import holds_for, wait_until

from .programs import PROXIES
from .site import ASKED, PAGES, STALENESS, Answer, Site

pytestmark = pytest.mark.gateway

FORM = [("Content-Type", "application/x-www-form-urlencoded")]
JSON = [("Accept", "application/json")]

#: Each asks 72 times.
ROUNDS = rounds(4, 140)

proxies = pytest.mark.parametrize("proxy", list(PROXIES))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    # Each answer renews, so that renewal need not be waited for.
    folder = tmp_path_factory.mktemp("site")
    yield from started(lambda: Site(folder, ALWAYS_RENEW="true"))


@proxies
def test_one_login_is_known_to_all_services(site: Site, proxy: str) -> None:
    """To the app itself, and to those that know of no token, in Node and in Go."""
    cookie = site.login(proxy)
    answers = [site.ask(proxy, page, cookie) for page in PAGES + ASKED]

    assert [one.status for one in answers] == [200] * 5
    assert [one.json["subject"] for one in answers] == ["alice"] * 5
    assert [site.ask(proxy, page).status for page in PAGES + ASKED] == [401] * 5


@proxies
def test_an_api_token_is_known_to_all_services(site: Site, proxy: str) -> None:
    """By Authorization, as at the app."""
    bearer = [("Authorization", f"Bearer {site.api_token('read', subject='bob')}")]
    answers = [site.ask(proxy, page, headers=bearer) for page in PAGES]

    assert [one.json["subject"] for one in answers] == ["bob"] * 3
    assert dict(answers[1].service_saw)["X-Auth-Scopes"] == "read"


def test_a_log_out_is_refused_by_all_services_at_once(site: Site, tell: Tell) -> None:
    """Through each proxy, from the moment the log-out is answered: not one is let in. The person
    logs out at the app, or the identity provider logs the person out, and is answered once it is
    confirmed of every node."""
    asked = accepted = confirmed = 0
    caller = site.api_token("revoke")
    whom = {"sub_id": {"format": "opaque", "id": "alice"}}
    with ThreadPoolExecutor(12) as crowd:
        for number in range(ROUNDS):
            proxy = list(PROXIES)[number % 2]
            cookie = site.login(proxy)
            for one in PROXIES:
                assert site.statuses(one, cookie) == [200] * 3
            if number % 4 < 2:
                assert site.ask(proxy, "/logout", cookie, "POST", JSON).status < 400
            else:
                path = "/global-token-revocation"
                gone = site.gateway.ask("POST", path, bearer=caller, data=whom)
                assert gone.status == 204
                confirmed += 1
            found = [
                crowd.submit(site.ask, one, page, cookie)
                for _ in range(12)
                for one in PROXIES
                for page in PAGES
            ]
            statuses = [one.result().status for one in found]
            asked += len(statuses)
            accepted += statuses.count(200)
            assert set(statuses) <= {401, 503}, statuses
    tell(
        "log-outs at a site, asked of three services behind two proxies",
        log_outs=ROUNDS, confirmed=confirmed, asked=asked, accepted=accepted,
    )  # fmt: skip
    assert accepted == 0


def test_a_log_out_at_the_gateway_is_one_everywhere(site: Site) -> None:
    """A service ends a login, and an identity provider a person: 200 and 204 are true."""
    caller = site.api_token("revoke")
    first, second = site.login("nginx"), site.login("caddy")
    bearer = [("Authorization", f"Bearer {site.api_token('read', subject='alice')}")]

    ended = site.gateway.ask("POST", "/revoke", bearer=caller, form={"token": first})
    assert ended.status == 200
    for proxy in PROXIES:
        assert site.statuses(proxy, first) == [401] * 3
        assert site.statuses(proxy, second) == [200] * 3

    whom = {"sub_id": {"format": "opaque", "id": "alice"}}
    gone = site.gateway.ask("POST", "/global-token-revocation", bearer=caller, data=whom)
    assert gone.status == 204
    for proxy in PROXIES:
        assert site.statuses(proxy, second) == [401] * 3
        assert [site.ask(proxy, page, headers=bearer).status for page in PAGES] == [401] * 3


@pytest.mark.parametrize("page", ASKED)
def test_a_service_that_caches_keeps_no_answer_longer_than_it_was_told(
    site: Site, page: str
) -> None:
    """From the log-out on it may go by what it knows until the end of the lease, not beyond."""
    cookie = site.login("nginx")
    assert site.ask("nginx", page, cookie).json["subject"] == "alice"
    assert site.ask("nginx", "/logout", cookie, "POST", JSON).status < 400
    ended = time.monotonic()
    last = ended

    def asked() -> bool:
        nonlocal last
        began = time.monotonic()
        if site.ask("caddy", page, cookie).status == 200:
            last = began
        return True

    holds_for(asked, STALENESS + 1)
    assert last - ended <= STALENESS
    assert site.ask("nginx", page, cookie).status == 401


@proxies
def test_a_login_is_renewed_through_the_proxy(site: Site, proxy: str) -> None:
    """The browser gets the new cookie with the service's own answer, and it is good."""
    cookie = site.login(proxy)
    for page in PAGES:
        wait_until(lambda page=page: site.ask(proxy, page, cookie).cookie not in (None, cookie))
        renewed = site.ask(proxy, page, cookie).cookie
        assert renewed
        assert site.statuses(proxy, renewed) == [200] * 3


@proxies
def test_a_browser_is_sent_to_the_login_page_and_back(site: Site, proxy: str) -> None:
    """With the address that it asked for; a script gets a 401."""
    browser = [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")]
    answer = site.ask(proxy, "/orders/?page=2&q=a%20b", headers=browser)

    assert answer.status == 302
    there = answer["Location"] or ""
    assert there.startswith("/login?next=")
    assert unquote(there.partition("next=")[2]) == "/orders/?page=2&q=a%20b"
    assert site.ask(proxy, there, headers=browser).status == 200
    assert site.ask(proxy, "/orders/", headers=[("Sec-Fetch-Mode", "cors")]).status == 401


@proxies
def test_a_bound_login_needs_both_cookies(site: Site, proxy: str) -> None:
    """At the app, at what the proxy guards, and where a service asks the gateway by itself: one
    alone is a copy's. With both it is let in and logged out as any other."""
    text, bound = site.bound_login(proxy)
    _, others = site.bound_login(proxy, "bob")
    both = f"{text}; {COOKIE}-bound={bound}"

    assert site.statuses(proxy, both, PAGES + ASKED) == [200] * 5
    assert {site.ask(proxy, page, both).json["subject"] for page in PAGES} == {"alice"}
    for copied in (text, f"{text}; {COOKIE}-bound={others}", f"{text}; {COOKIE}-bound="):
        assert site.statuses(proxy, copied, PAGES + ASKED) == [401] * 5

    caller = site.api_token("introspect")
    said = [
        site.gateway.ask("POST", "/introspect", bearer=caller, form=form).json
        for form in ({"token": text}, {"token": text, "bound_token": bound})
    ]
    assert said[0] == {"active": False}
    assert (said[1]["active"], said[1]["bound"], said[1]["sub"]) == (True, True, "alice")

    assert site.ask(proxy, "/logout", both, "POST", JSON).status < 400
    for one in PROXIES:
        assert site.statuses(one, both) == [401] * 3


# -- from another site -----------------------------------------------------------------


@proxies
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_an_unsafe_request_of_another_site_is_refused(site: Site, proxy: str, method: str) -> None:
    """The proxies ask by GET, and say by which method they were asked."""
    cookie = site.login(proxy)
    evil = [("Origin", "https://evil.example")]
    for page in ("/orders/", "/reports/"):
        for headers in (
            evil,
            [("Sec-Fetch-Site", "cross-site")],
            # What the page, or a client, might add to be taken for something else.
            [*evil, ("X-Forwarded-Method", "GET")],
            [*evil, ("X-Original-Method", "GET")],
            [*evil, ("X-Original-Method", "GET"), ("X-Original-Method", "GET")],
            [*evil, ("X_Original_Method", "GET"), ("x_forwarded_method", "GET")],
            [*evil, ("X-Forwarded-Host", "evil.example")],
            [*evil, ("X-Original-Host", "evil.example")],
            [*evil, ("X-Http-Method-Override", "GET")],
        ):
            answer = site.ask(proxy, page, cookie, method, headers)
            assert answer.status == 403, (page, headers)
        here = f"http://127.0.0.1:{site.proxies[proxy].port}"
        assert site.ask(proxy, page, cookie, method, [("Origin", here)]).status == 200


@proxies
def test_a_link_of_another_site_works(site: Site, proxy: str) -> None:
    """A GET changes nothing."""
    headers = [("Sec-Fetch-Site", "cross-site"), ("Referer", "https://evil.example/")]
    assert site.ask(proxy, "/orders/", site.login(proxy), headers=headers).status == 200


@proxies
def test_a_websocket_of_another_site_is_refused(site: Site, proxy: str) -> None:
    """Its handshake is a GET, from which any page could read on."""
    headers = [
        ("Origin", "https://evil.example"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ]
    assert site.ask(proxy, "/orders/", site.login(proxy), headers=headers).status == 403


# -- smuggling and spoofing ------------------------------------------------------------

SPOOFED = [
    [("X-Auth-Subject", "root")],
    [("x-auth-subject", "root")],
    [("X-AUTH-SUBJECT", "root")],
    [("X_Auth_Subject", "root")],
    [("X-Auth_Subject", "root")],
    [("X-Auth-Subject", "root"), ("X-Auth-Subject", "root")],
    [("X-Auth-Subject", ""), ("X-Auth-Subject", "root")],
    [("X-Auth-Subject", "root"), ("X_AUTH_SUBJECT", "root"), ("x-auth-subject", "root")],
    [("X-Auth-Scopes", "root"), ("X-Auth-Claims", "root"), ("X-Auth-Kind", "root")],
    [("X-Auth-Token-Id", "root"), ("X-Auth-Policy", "kind=root")],
    [("X-Auth-Subject", "root" * 700)],
    [("Connection", "X-Auth-Subject"), ("X-Auth-Subject", "root")],
    [("Connection", "close, X-Auth-Kind, Cookie")],
]


def _plain(name: str) -> str:
    """As a careless service reads a header's name: CGI and WSGI do."""
    return name.upper().replace("-", "_")


def _spoofed(answer: Answer) -> list[tuple[str, str]]:
    """What a service got of what a client said it was."""
    return [
        (name, value)
        for name, value in answer.service_saw
        if _plain(name).startswith("X_AUTH") and "root" in value
    ]


@proxies
@pytest.mark.parametrize("headers", SPOOFED, ids=lambda one: "+".join(name for name, _ in one))
def test_nobody_says_who_it_is(site: Site, proxy: str, headers: list[tuple[str, str]]) -> None:
    """However it is spelled, and however often: a service sees what the gateway said, or nobody
    is let in."""
    cookie = site.login(proxy)
    for page in ("/orders/", "/reports/"):
        assert site.ask(proxy, page, headers=headers).status == 401
        answer = site.ask(proxy, page, cookie, headers=headers)
        if answer.status != 401:
            # (401: the client had its own cookie taken away.)
            assert answer.status == 200
            assert answer.json["subject"] == "alice"
            assert not _spoofed(answer)
            names = [_plain(name) for name, _ in answer.service_saw]
            assert names.count("X_AUTH_SUBJECT") == 1
    # The app behind the same proxy sees nothing of it either, and judges by itself.
    assert site.ask(proxy, "/api/me", cookie, headers=headers).status in (200, 401)
    assert site.ask(proxy, "/api/me", headers=headers).status == 401


@proxies
def test_headers_that_no_library_sends_name_nobody(site: Site, proxy: str) -> None:
    """Line breaks, bare ones too, folded lines, spaces before the colon, a NUL, 100 KB."""
    cookie = f"Cookie: clustertoken={site.login(proxy)}\r\n".encode()
    for page in (b"/orders/", b"/reports/"):
        for spoof in (
            b"X-A: 1\r\nX-Auth-Subject: root\r\n",
            b"X-A: 1\nX-Auth-Subject: root\n",
            b"X-A: 1\rX-Auth-Subject: root\r\n",
            b"X-A: 1\r\n X-Auth-Subject: root\r\n",
            b"X-Auth-Subject : root\r\n",
            b" X-Auth-Subject: root\r\n",
            b"X-Auth-Subject\t: root\r\n",
            b"X-Auth-Subject:\r\n root\r\n",
            b"X-Auth-Subject\x00: root\r\n",
            b"X-Auth-Subject: root\x00\r\n",
            b"X-Auth-Subject:root\r\nX-Auth-Subject: root\r\n",
            b"X-Auth-Subject: " + b"root" * 25_000 + b"\r\n",
            b"%58-Auth-Subject: root\r\n",
        ):
            start = b"GET " + page + b" HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n"
            received = site.raw(proxy, start + spoof + b"\r\n")
            assert re.match(rb"HTTP/1\.1 4\d\d ", received), received[:200]
            received = site.raw(proxy, start + cookie + spoof + b"\r\n")
            assert re.match(rb"HTTP/1\.1 (200|4\d\d) ", received), received[:200]
            if received.startswith(b"HTTP/1.1 200"):
                assert b'"subject":"alice"' in received
                # (As the value of the header before it, a folded line is nobody's name.)
                assert not re.search(rb'(?i)"[^"]*x.auth.subject"\W{1,4}root', received), received


@proxies
def test_what_a_client_says_of_the_gateway_is_not_heard(site: Site, proxy: str) -> None:
    """Nobody reaches ``/auth``, ``/introspect`` or ``/_auth`` of the site through the proxy."""
    cookie = site.login(proxy)
    for path in ("/_auth", "/auth", "/introspect", "/orders/../_auth"):
        assert site.ask(proxy, path, cookie).status in (400, 404)


# -- trouble ---------------------------------------------------------------------------


def test_a_stale_gateway_is_a_503_through_every_proxy(site: Site) -> None:
    """While it cannot vouch for anything nobody is let in or sent to a login page; then it goes on
    with the same cookie. Neither service says that a login is over."""
    cookie = site.login("nginx")
    assert site.statuses("nginx", cookie) == [200] * 3
    shared = site.app.shared / "default.sqlite3"
    browser = [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")]
    with closing(sqlite3.connect(shared, isolation_level=None, timeout=60)) as database:
        database.execute("BEGIN EXCLUSIVE")
        wait_until(lambda: site.gateway.ask("GET", "/readyz").status == 503)
        for proxy in PROXIES:
            for page in ("/orders/", "/reports/"):
                answer = site.ask(proxy, page, cookie, headers=browser)
                assert answer.status == 503, (proxy, page)
                assert answer.cookie is None
        database.execute("ROLLBACK")
    for proxy in PROXIES:
        wait_until(lambda proxy=proxy: site.statuses(proxy, cookie, PAGES + ASKED) == [200] * 5)


def test_a_gateway_that_is_not_there_lets_nobody_in(site: Site) -> None:
    """503, as for a stale one; the app judges by itself, and goes on."""
    cookie = site.login("nginx")
    site.gateway.stop()
    try:
        for proxy in PROXIES:
            answers = [site.ask(proxy, page, cookie) for page in ("/orders/", "/reports/")]
            assert [one.status for one in answers] == [503] * 2
            assert site.ask(proxy, "/api/me", cookie).status == 200
    finally:
        site.gateway.start()
    for proxy in PROXIES:
        wait_until(lambda proxy=proxy: site.statuses(proxy, cookie) == [200] * 3)
