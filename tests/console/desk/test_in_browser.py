"""An administrator's way through the console in a real browser, over the example's workers.

With ``CLUSTERTOKEN_TEST_PICTURES`` a folder, the pages are pictured there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken.audit import keeping
from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.settings import Settings
from tests.clients.site import serving
from tests.console import axe
from tests.example.browser import Pages, log_in
from tests.extension.parts import MakeApp
from tests.gunicorn.server import GunicornServer
from tests.rounds import rounds
from tests.servers.ports import spare_ports
from tests.waiting import came_true, wait_until

from .parts import Desk, fill_database, make_desk

pytestmark = [pytest.mark.browser]

TAB, ENTER = "\ue004", "\ue007"

#: So many people there are besides: a search takes steps from 40,000 on. Fewer where the same is
#: done once more.
PEOPLE, FEWER = rounds(42_000, 100_000), 5_000

#: Seconds for which a page is looked at that is then loaded anew: a load costs much.
RELOAD = 0.5


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GunicornServer]:
    settings = {"AUDIT": "store", "KEEP_ADDRESS": "true"}
    with GunicornServer(tmp_path, node="reading-room", settings=settings) as running:
        yield running


class Person:
    """Somebody in front of a browser."""

    def __init__(self, browser: Pages, server: GunicornServer) -> None:
        self.browser = browser
        self.home = f"http://127.0.0.1:{server.port}"

    def log_in(self, name: str) -> None:
        log_in(self.browser, self.home, name)

    def goes_to(self, path: str) -> None:
        self.browser.open(f"{self.home}/console{path}")

    def clicks(self, css: str, arrives: str) -> None:
        """Click, and wait for the page whose address has *arrives* in it."""
        self.browser.click(css)
        wait_until(lambda: re.search(arrives, self.browser.url))

    def sees(self, text: str, css: str = "main", *, reload: bool = False) -> None:
        """Wait until *css* says *text*; where nothing refreshes the page, with *reload*."""

        def said() -> bool:
            return self.browser.count(css) > 0 and text in self.browser.text(css)

        def said_anew() -> bool:
            self.browser.open(self.browser.url)
            return came_true(said, RELOAD)

        wait_until(said_anew if reload else said)

    def looks(self, name: str) -> None:
        """Nothing keeps anybody from using the page, however wide it is."""
        assert axe.findings(self.browser) == [], name
        folder = os.environ.get("CLUSTERTOKEN_TEST_PICTURES")
        for width, size in ((320, "narrow"), (1200, "wide")):
            self.browser.resize(width, 900)
            if folder:
                self.browser.screenshot(Path(folder) / f"{name}-{size}.png")
            assert self.browser.fits(), (name, size)


@contextmanager
def person(config: pytest.Config, server: GunicornServer, *, scripts: bool) -> Iterator[Person]:
    with axe.looking(config) as browser:
        browser.resize(1200, 900)
        browser.command("Emulation.setScriptExecutionDisabled", value=not scripts)
        yield Person(browser, server)


def crowd(server: GunicornServer, count: int) -> None:
    """So many others who are logged in."""
    settings = Settings(
        store=f"directory://{server.shared}",
        secret_file=str(server.folder / "instance" / "token_secret"),
    )
    authority = TokenAuthority(settings, active=False)
    try:
        names = (f"person-{number:06}" for number in range(count))
        fill_database(authority, server.shared / "default.sqlite3", names)
    finally:
        authority.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_an_administrator_ends_one_login_among_many(
    server: GunicornServer, pytestconfig: pytest.Config, scripts: bool
) -> None:
    """Found by name at once; ended; in force on each worker; and that browser has to log in."""
    crowd(server, PEOPLE if scripts else FEWER)
    server.wait_fresh()
    kept = server.login("bob")
    with (
        person(pytestconfig, server, scripts=scripts) as bob,
        person(pytestconfig, server, scripts=scripts) as admin,
    ):
        bob.log_in("bob")
        admin.log_in("admin")
        browser = admin.browser
        admin.clicks("nav a[href='/console/']", "/console/$")
        admin.sees("4 workers are there")
        if scripts:
            admin.looks("console-overview")
        admin.clicks(".ct-tabs a[href='/console/people']", "/people$")
        browser.type("#q", "bob")
        admin.clicks("form[role=search] button", "q=bob")
        admin.sees("2 logins", "#exact-list")
        if scripts:
            admin.looks("console-people")
        admin.clicks("#exact-list a", "subject=bob")
        assert browser.count("#tokens li") == 2
        theirs = next(
            row
            for row in (1, 2)
            if "Chrome on Linux" in browser.text(f"#tokens li:nth-child({row})")
        )
        if scripts:
            admin.looks("console-person")
        admin.clicks(f"#tokens li:nth-child({theirs}) a.ct-button", "/tokens/end")
        admin.sees("1 recorded token will end")
        if scripts:
            admin.looks("console-end")
        admin.clicks("#end", "/work")
        admin.sees("In force on all 4 nodes", "#in-force")
        named = browser.text("#nodes")
        assert all(f":{pid}" in named for pid in server.pids())
        if scripts:
            admin.looks("console-work")

        bob.browser.open(f"{bob.home}/devices")
        assert "/login?next=" in bob.browser.url
        answers = [one for some in server.of_all_workers(kept).values() for one in some]
        assert {one.status for one in answers} == {200}

        # By how a name begins: in steps, with how far it is.
        admin.goes_to("/people")
        browser.type("#q", "person-00099")
        admin.clicks("form[role=search] button", "q=person")
        found: set[str] = set()
        steps = 0
        while steps < 60:
            wait_until(lambda: browser.count("#people li") or not browser.count("[data-ct-again]"))
            if browser.count("#people"):
                found |= set(re.findall(r"person-\d{6}", browser.text("#people")))
            if not browser.count("a[rel=next]"):
                break
            assert browser.count("progress")
            if scripts and len(found) < 10:
                admin.looks("console-search")
            here = browser.url
            browser.click("a[rel=next]")
            wait_until(lambda here=here: browser.url != here)  # type: ignore[misc]
            steps += 1
        assert found == {f"person-00099{digit}" for digit in range(10)}
        assert steps or not scripts

        # What was done stands in the audit trail, some seconds later.
        admin.goes_to("/audit?event=revoked_token")
        admin.sees("console", "#lines", reload=True)
        if scripts:
            admin.looks("console-audit")
        admin.goes_to("/revocations")
        assert "tokens, by their ids" in browser.text("#revocations")
        if scripts:
            admin.looks("console-revocations")


@pytest.fixture
def desk(clock: ManualClock, make_app: MakeApp) -> Desk:
    """A console in the library's own frame, with something on each of its pages."""
    made = make_desk(make_app, clock, AUDIT="store", COOKIE_SECURE=False, KEEP_ADDRESS=True)

    @made.app.get("/enter")
    def enter() -> str:
        return "<!doctype html><title>Log in</title><form method=post><button>Log in</button>"

    @made.app.post("/enter")
    def entered() -> str:
        made.tokens.login("admin", labels=["sso:1"])
        return "<p id=in>in"

    authority = made.authority
    for name in ("bob", "<b>bold</b>", "x" * 300, "שלום"):
        authority.issue_login(name, labels=["sso:1"], device="Kitchen")
        authority.issue_api_token(name, "nightly build", ["read"])
    authority.files("fonts").put("corporate.woff2", b"x")
    authority.revoke_subject("carol")
    authority.locking.lock(
        subject="mallory", message="Please call the office.", except_labels=["role:admin"]
    )
    clock.advance(keeping.COLLECT)
    for _ in range(3):
        authority.follower().step()
    return made


PAGES = [
    *("/", "/people", "/people?q=bob", "/tokens", "/tokens?subject=admin", "/tokens/end"),
    *(
        "/tokens/end?subject=bob",
        "/tokens/end?label=sso:1",
        "/tokens/new",
        "/api-tokens",
        "/locks",
        "/locks/new",
        "/locks/set?what=subject&name=bob&ends=3600&message=Please+call.",
        "/locks/set?what=x",
        "/locks/lift?what=subject&name=mallory",
        "/keys",
        "/audit",
        "/audit?follow=1",
    ),
    *("/revocations", "/files", "/files/delete?name=fonts&key=corporate.woff2", "/work?work=x"),
]


@contextmanager
def inside(desk: Desk, config: pytest.Config) -> Iterator[tuple[Pages, str]]:
    """A browser that is logged in at *desk*, and where the console is."""
    (port,) = spare_ports(1)
    home = f"http://127.0.0.1:{port}"
    with serving(desk.app, port), axe.looking(config) as browser:
        browser.open(f"{home}/enter")
        browser.click("button")
        wait_until(lambda: browser.count("#in"))
        yield browser, f"{home}/console"


def test_every_page_in_german_in_the_dark_on_a_telephone(
    desk: Desk, pytestconfig: pytest.Config
) -> None:
    """And in the library's own frame: axe finds nothing, and nothing is wider than the window."""
    with inside(desk, pytestconfig) as (browser, console):
        dark = {"name": "prefers-color-scheme", "value": "dark"}
        browser.command("Emulation.setEmulatedMedia", features=[dark])
        browser.command("Network.enable")
        browser.command("Network.setExtraHTTPHeaders", headers={"Accept-Language": "de"})
        browser.resize(320, 800)
        for page in PAGES:
            browser.open(console + page)
            assert "Konsole" in browser.text("title") or browser.count("html[lang=de]"), page
            assert axe.findings(browser) == [], page
            assert browser.fits(), page


def test_what_comes_is_put_into_place_and_the_focus_stays(
    desk: Desk, pytestconfig: pytest.Config
) -> None:
    """Where scripts run the page is not loaded anew; who listens to it hears nothing twice."""
    with inside(desk, pytestconfig) as (browser, console):
        browser.open(f"{console}/revocations?follow=1")
        before = browser.count("#revocations tbody tr")
        for _ in range(50):
            if browser.focused() == "Stand still":
                break
            browser.press(TAB)
        browser.run("window.here = true; arguments[0]()")
        desk.authority.revoke_subject("meanwhile")
        wait_until(lambda: browser.count("#revocations tbody tr") == before + 1)
        assert browser.run("arguments[0](window.here)") is True
        assert browser.focused() == "Stand still"


def test_a_login_is_ended_by_keyboard_alone(desk: Desk, pytestconfig: pytest.Config) -> None:
    """Tab, Space and Enter: search, tick, ask, end."""
    (port,) = spare_ports(1)
    with serving(desk.app, port), axe.looking(pytestconfig) as browser:
        browser.open(f"http://127.0.0.1:{port}/enter")
        browser.press(TAB, ENTER)
        wait_until(lambda: browser.count("#in"))

        def tabs_to(name: str) -> None:
            met = []
            for _ in range(40):
                browser.press(TAB)
                met.append(browser.focused())
                if met[-1].startswith(name):
                    return
            raise AssertionError(f"{name!r} cannot be reached by Tab, but {met}")

        def arrives(part: str) -> None:
            wait_until(lambda: part in browser.url)

        browser.open(f"http://127.0.0.1:{port}/console/people")
        tabs_to("Name, or how it begins")
        browser.press(*"bob", ENTER)
        arrives("q=bob")
        tabs_to("bob")
        browser.press(ENTER)
        arrives("subject=bob")
        tabs_to("Kitchen")
        browser.press(" ")
        tabs_to("End what is ticked")
        browser.press(ENTER)
        arrives("/tokens/end")
        assert "1 recorded token will end" in browser.text("main")
        tabs_to("End them")
        browser.press(ENTER)
        arrives("/work")
        wait_until(lambda: browser.count("#in-force"))
        assert [one.kind for one in desk.authority.tokens_of("bob")] == ["api"]


def key_row(person: Person, state: str) -> str:
    """The row of the key that says *state*."""
    rows = person.browser.count("#keys > li")
    for row in range(1, rows + 1):
        css = f"#keys > li:nth-child({row})"
        if state in person.browser.text(css):
            return css
    raise AssertionError(f"no key says {state!r}: {person.browser.text('#keys')}")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_a_rotation_from_start_to_end_by_clicks_alone(
    server: GunicornServer, pytestconfig: pytest.Config, scripts: bool
) -> None:
    """Stage, sign, retire, drop: each button comes when it is safe; the others stay logged in."""
    alice = server.login("alice")
    issued = server.ask("POST", "/api/tokens", cookie=alice, data={"name": "ci", "scopes": []})
    text: str = issued.json["text"]
    with person(pytestconfig, server, scripts=scripts) as admin:
        admin.log_in("admin")
        browser = admin.browser
        admin.goes_to("/keys")
        assert browser.count("[data-step]") == 0
        admin.clicks("#stage", "step=stage")
        admin.clicks("#do", "/work")
        admin.sees("In force on all 4 nodes")
        admin.goes_to("/keys")
        staged = key_row(admin, "staged")

        def offered(css: str) -> bool:
            admin.goes_to("/keys")
            return came_true(lambda: browser.count(css), RELOAD)

        wait_until(lambda: offered(f"{staged} [data-step=sign]"))
        if scripts:
            admin.looks("console-keys")
        admin.clicks(f"{staged} [data-step=sign]", "step=sign")
        admin.clicks("#do", "/work")
        admin.sees("signs from now on")
        admin.sees("In force on all 4 nodes")
        assert server.me(alice).status == 200
        # The old one signed the administrator's own login: a new one first, that the new key signs.
        admin.goes_to("/keys")
        old = key_row(admin, "verifies what it signed")
        assert browser.count(f"{old} [data-step=end]") == 0
        admin.log_in("admin")
        wait_until(lambda: offered(f"{old} [data-step=end]"))
        admin.clicks(f"{old} [data-step=end]", "step=end")
        admin.sees("1 live API token was signed with it", "#count")
        if scripts:
            admin.looks("console-step")
        admin.clicks("#do", "/work")
        admin.sees("verifies API tokens only")
        admin.sees("In force on all 4 nodes")
        assert server.me(alice).status == 401
        assert server.ask("GET", "/api/me", bearer=text).status == 200
        admin.goes_to("/keys")
        admin.clicks(f"{old} [data-step=drop]", "step=drop")
        admin.clicks("#do", "/work")
        admin.sees("is dropped")
        admin.sees("In force on all 4 nodes")
        assert server.ask("GET", "/api/me", bearer=text).status == 401
        admin.goes_to("/keys")
        assert browser.count("[data-step]") == 0
        assert "signs" in browser.text("#keys")


def test_an_api_token_and_a_file(server: GunicornServer, pytestconfig: pytest.Config) -> None:
    """Made, used, ended; stored by the site, seen, deleted; an ordinary user sees none of it."""
    with person(pytestconfig, server, scripts=True) as admin:
        admin.log_in("admin")
        browser = admin.browser
        admin.goes_to("/api-tokens")
        admin.clicks("main a[href='/console/tokens/new']", "/tokens/new")
        admin.looks("console-issue")
        browser.type("input[name=subject]", "alice")
        browser.type("input[name=name]", "nightly build")
        browser.click("form.ct-stack button")
        wait_until(lambda: browser.count("#text"))
        text = browser.text("#text")
        admin.looks("console-issued")
        assert server.ask("GET", "/api/me", bearer=text).json["subject"] == "alice"
        admin.goes_to("/api-tokens")
        assert "nightly build" in browser.text("#tokens")
        admin.looks("console-api-tokens")
        browser.click("#tokens input[type=checkbox]")
        admin.clicks("#tokens + p button", "/tokens/end")
        admin.clicks("#end", "/work")
        admin.sees("1 token ended")
        assert server.ask("GET", "/api/me", bearer=text).status == 401
        admin.goes_to("/files")
        admin.looks("console-files")
    answer: Any = server.ask(
        "GET", "/console/", cookie=server.login("bob"), headers={"Accept": "text/html"}
    )
    assert answer.status == 403


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_somebody_is_locked_out_and_let_in_again(
    server: GunicornServer, pytestconfig: pytest.Config, scripts: bool
) -> None:
    """From the person's page: asked, in force on each worker, told why at the door; and lifted."""
    bob = server.login("bob")
    with person(pytestconfig, server, scripts=scripts) as admin:
        admin.log_in("admin")
        browser = admin.browser
        admin.goes_to("/tokens?subject=bob")
        admin.clicks("#lock-out", "/locks/new")
        browser.type("input[name=message]", "Please call the office.")
        if scripts:
            admin.looks("console-lock")
        admin.clicks("main form button", "/locks/set")
        admin.sees("1 recorded login ends for good")
        if scripts:
            admin.looks("console-lock-out")
        admin.clicks("#lock", "/work")
        admin.sees("In force on all 4 nodes", "#in-force")
        answers = [one for some in server.of_all_workers(bob).values() for one in some]
        assert {one.status for one in answers} == {403}
        form = {"username": "bob", "password": "bob"}
        refused = server.ask("POST", "/login", data=form, headers={"Accept": "text/html"})
        assert refused.status == 403
        assert b"Please call the office." in refused.body
        admin.goes_to("/locks")
        assert "the person bob" in browser.text("#locks")
        if scripts:
            admin.looks("console-locks")
        admin.clicks("#locks td a", "/locks/lift")
        admin.clicks("#lift", "/work")
        admin.sees("In force on all 4 nodes", "#in-force")
        assert server.me(server.login("bob")).status == 200
