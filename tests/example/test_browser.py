"""A person's way through the example, in a real browser and without any script."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gunicorn.server import GunicornServer
from tests.waiting import came_true, wait_until

from .browser import Pages, log_in
from .somebody import somebody

pytestmark = pytest.mark.browser


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GunicornServer]:
    with GunicornServer(tmp_path, node="reading-room") as running:
        yield running


@pytest.fixture
def browser(pytestconfig: pytest.Config) -> Iterator[Pages]:
    with somebody(pytestconfig) as one:
        yield one


class Visit:
    """Steps of a visit; with ``CLUSTERTOKEN_TEST_PICTURES`` a folder, each is pictured there."""

    def __init__(self, server: GunicornServer, browser: Pages) -> None:
        self.home = f"http://127.0.0.1:{server.port}"
        self.browser = browser
        self._pictures = os.environ.get("CLUSTERTOKEN_TEST_PICTURES")
        self._number = 0

    def picture(self, name: str) -> None:
        """The page is not wider than a window or a telephone."""
        for width, height, size in ((390, 844, "narrow"), (1000, 900, "wide")):
            self.browser.resize(width, height)
            assert self.browser.fits(), (name, size)
            if self._pictures:
                self._number += 1
                path = Path(self._pictures) / f"{self._number:02}-{name}-{size}.png"
                self.browser.screenshot(path)

    def log_in(self, name: str) -> None:
        log_in(self.browser, self.home, name)


def test_a_visit(server: GunicornServer, browser: Pages) -> None:
    """Log in, see name and worker, end another device, make an API token, leave everywhere."""
    visit = Visit(server, browser)
    browser.open(f"{visit.home}/devices")
    assert "/login?next=/devices" in browser.url
    browser.open(visit.home)
    visit.picture("welcome")

    browser.open(f"{visit.home}/login")
    visit.picture("login")
    browser.type("input[name=username]", "alice")
    browser.type("input[name=password]", "nonsense")
    browser.click("main button")
    wait_until(lambda: browser.count("[role=alert]"))
    visit.picture("wrong")

    visit.log_in("alice")
    assert browser.text("#subject") == "alice"
    seen = set()
    for _ in range(30):
        if len(seen) > 1:
            break
        browser.open(visit.home)
        assert "reading-room" in browser.text(".facts")
        seen.add(int(browser.text("#pid")))
    assert seen <= set(server.pids())
    assert len(seen) > 1
    for slug in ("revoked", "sliding"):
        browser.open(f"{visit.home}/pages/{slug}")
    visit.picture("article")
    browser.open(visit.home)
    assert browser.text("#recent").startswith("A login that slides")
    visit.picture("home")

    elsewhere = server.login()
    browser.click("nav a[href='/devices']")
    wait_until(lambda: browser.url.endswith("/devices"))
    assert browser.count("#devices li") == 2
    assert browser.count("#devices li.current") == 1
    assert "Chrome on Linux" in browser.text("#devices li.current")
    visit.picture("devices")
    browser.click("#devices li:not(.current) button")
    wait_until(lambda: "said=ended" in browser.url)
    assert browser.count("#devices li") == 1
    assert server.me(elsewhere).status == 401

    browser.click("nav a[href='/tokens']")
    wait_until(lambda: browser.url.endswith("/tokens"))
    browser.type("input[name=name]", "nightly backup")
    browser.type("input[name=scopes]", "read write")
    browser.click(".ct-stack button")
    wait_until(lambda: browser.count("#text"))
    text = browser.text("#text")
    visit.picture("token-made")
    assert server.ask("GET", "/api/me", bearer=text).status == 200
    browser.open(f"{visit.home}/tokens")
    assert browser.count("#text") == 0
    assert "nightly backup" in browser.text("#api-tokens")
    visit.picture("tokens")
    browser.click("#api-tokens button")
    wait_until(lambda: "said=token-ended" in browser.url)
    assert server.ask("GET", "/api/me", bearer=text).status == 401

    other = server.login()
    browser.open(visit.home)
    browser.click("main button[name=keep]")
    wait_until(lambda: "said=others-ended" in browser.url)
    assert server.me(other).status == 401
    visit.picture("others-ended")
    browser.open(visit.home)
    browser.click("main button.danger")
    wait_until(lambda: "said=out" in browser.url)
    assert "Log in" in browser.text("main")
    visit.picture("out")

    visit.log_in("admin")
    bob = server.login("bob")
    browser.click("nav a[href='/people']")
    wait_until(lambda: browser.count("#people"))
    visit.picture("people")
    browser.click("form[action='/people/bob/logout'] button")
    wait_until(lambda: "said=person-out" in browser.url)
    assert server.me(bob).status == 401
    browser.open(f"{visit.home}/nowhere")
    visit.picture("nowhere")


def test_a_visit_while_the_store_is_gone(server: GunicornServer, browser: Pages) -> None:
    """The page asks for patience, and the login is there again without doing anything."""
    visit = Visit(server, browser)
    visit.log_in("alice")
    server.shared.rename(server.shared.with_name("elsewhere"))

    def shows(text: str) -> bool:
        """(It is looked at for a while before it is loaded anew: a load costs much.)"""
        browser.open(visit.home)
        return came_true(lambda: text in browser.text("main"), 0.3)

    wait_until(lambda: shows("One moment"))
    visit.picture("one-moment")
    server.shared.with_name("elsewhere").rename(server.shared)

    wait_until(lambda: shows("Hello, Alice"))
