"""A user's own devices in a real browser: as people come, with keyboard, telephone or darkness.

With ``CLUSTERTOKEN_TEST_PICTURES`` a folder, the pages are pictured there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_clustertoken.clock import ManualClock
from tests.clients.site import serving
from tests.example.browser import Pages
from tests.servers.ports import spare_ports
from tests.waiting import wait_until

from . import axe
from .parts import AT, MakeSite, Site

pytestmark = pytest.mark.browser

TAB, ENTER, ESCAPE = "\ue004", "\ue007", "\ue00c"

#: Ways in which people come: width, darkness, language, scripts.
WAYS = {
    "plain": {},
    "narrow": {"width": 320},
    "dark": {"dark": True},
    "german": {"language": "de"},
    "all": {"width": 320, "dark": True, "language": "de"},
    "no-scripts": {"scripts": False},
}


@pytest.fixture(scope="module")
def browser(pytestconfig: pytest.Config) -> Iterator[Pages]:
    with axe.looking(pytestconfig) as somebody:
        yield somebody


class Visit:
    """Alice in front of her browser; she is logged in on another device as well."""

    def __init__(self, browser: Pages, site: Site, port: int) -> None:
        self.browser = browser
        self.site = site
        self.home = f"http://127.0.0.1:{port}"
        self.other = site.person("alice", device="Firefox on Windows")

    def come(
        self,
        width: int = 1000,
        dark: bool = False,
        language: str = "en",
        scripts: bool = True,
    ) -> None:
        """With a window so wide, in that language and light; and logged in."""
        command = self.browser.command
        self.browser.resize(width, 900)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        command("Emulation.setEmulatedMedia", features=[scheme])
        command("Network.enable")
        command("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})
        command("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.browser.open(f"{self.home}/enter")
        self.browser.click("button")
        self.arrives(AT)

    def arrives(self, address: str) -> None:
        wait_until(lambda: self.browser.url == self.home + address)

    def goes_to(self, path: str) -> None:
        self.browser.open(self.home + path)

    def looks(self, name: str) -> None:
        """Nothing keeps anybody from using the page; it is not wider than the window."""
        assert axe.findings(self.browser) == [], name
        assert self.browser.fits(), name
        self.picture(name)

    def picture(self, name: str) -> None:
        folder = os.environ.get("CLUSTERTOKEN_TEST_PICTURES")
        if folder:
            self.browser.screenshot(Path(folder) / f"{name}.png")

    def tabs_to(self, name: str) -> None:
        """Press Tab until what is called *name* has the focus."""
        met = []
        for _ in range(30):
            self.browser.press(TAB)
            met.append(self.browser.focused())
            if met[-1].startswith(name):
                return
        raise AssertionError(f"{name!r} cannot be reached by Tab, but {met}")


@pytest.fixture
def visit(browser: Pages, make_site: MakeSite, clock: ManualClock) -> Iterator[Visit]:
    site = make_site(KEEP_ADDRESS=True, LOGIN_VIEW="enter")

    @site.app.get("/enter")
    def enter() -> str:
        return "<!doctype html><title>Log in</title><form method=post><button>Log in</button>"

    @site.app.post("/enter")
    def entered() -> object:
        site.tokens.login("alice")
        return site.app.redirect(AT, 303)

    (port,) = spare_ports(1)
    with serving(site.app, port):
        yield Visit(browser, site, port)
        browser.command("Emulation.setScriptExecutionDisabled", value=False)
        browser.open("about:blank")


@pytest.mark.parametrize("way", WAYS)
def test_a_user_ends_the_other_device(visit: Visit, way: str) -> None:
    """However they came: it is over at once, the page says so, and axe finds nothing."""
    visit.come(**WAYS[way])  # type: ignore[arg-type]
    browser, scripts = visit.browser, WAYS[way].get("scripts", True)
    german = WAYS[way].get("language") == "de"
    assert ("Ihre Geräte" if german else "Your devices") in browser.text("h1")
    assert browser.count("#devices li") == 2
    # (Where scripts run, a time is said in the reader's own zone.)
    assert ("UTC" in browser.text("#devices li time")) is not scripts
    if scripts:
        visit.looks(f"devices-{way}")
    browser.click("#devices li:not(.current) button")
    visit.arrives(f"{AT}?said=ended")
    assert not visit.other.is_logged_in
    assert browser.count("#devices li") == 1
    assert browser.text(".ct-note").startswith("Die Anmeldung" if german else "That login")
    if scripts:
        visit.looks(f"devices-ended-{way}")


@pytest.mark.parametrize("way", WAYS)
def test_a_user_makes_an_api_token(visit: Visit, way: str) -> None:
    """It is shown once; a button copies it where scripts run; it can be ended again."""
    visit.come(**WAYS[way])  # type: ignore[arg-type]
    browser, scripts = visit.browser, WAYS[way].get("scripts", True)
    visit.goes_to(f"{AT}/tokens")
    if scripts:
        visit.looks(f"tokens-none-{way}")
    browser.type("input[name=name]", "nightly backup")
    browser.type("input[name=scopes]", "read write")
    browser.click("form:has(input[name=name]) button")
    wait_until(lambda: browser.count("#text"))
    text = browser.text("#text")
    bearer = {"Authorization": f"Bearer {text}"}
    assert visit.site.app.test_client().get("/me", headers=bearer).text == "alice"
    if scripts:
        visit.looks(f"token-made-{way}")
        command = "Browser.grantPermissions"
        browser.command(command, permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        browser.click("[data-ct-copy]")
        done = "Kopiert" if WAYS[way].get("language") == "de" else "Copied"
        wait_until(lambda: browser.text("[data-ct-copy]") == done)
        read = "navigator.clipboard.readText().then(arguments[0], (e) => arguments[0](String(e)))"
        assert browser.run(read) == text
    visit.goes_to(f"{AT}/tokens")
    assert browser.count("#text") == 0
    browser.click("#api-tokens button")
    visit.arrives(f"{AT}/tokens?said=token-ended")
    assert visit.site.app.test_client().get("/me", headers=bearer).status_code == 401


def test_everything_is_done_by_keyboard(visit: Visit) -> None:
    """Each button is reached by Tab and says what it is for; nothing else is needed."""
    visit.come()
    visit.tabs_to("Skip to the content")
    visit.browser.press(ENTER)
    visit.tabs_to("End the login on Firefox on Windows, id …")
    visit.browser.press(ENTER)
    visit.arrives(f"{AT}?said=ended")
    assert not visit.other.is_logged_in

    third = visit.site.person("alice")
    visit.goes_to(AT)
    visit.tabs_to("Log out everywhere, here too")
    visit.browser.press(ENTER)
    assert axe.findings(visit.browser) == []
    visit.picture("devices-everywhere")
    visit.tabs_to("Log out everywhere")
    visit.browser.press(ENTER)
    visit.arrives("/")
    assert not third.is_logged_in
    visit.goes_to(AT)
    wait_until(lambda: "/enter?next=" in visit.browser.url)


def test_an_old_login_is_asked_and_comes_back(visit: Visit, clock: ManualClock) -> None:
    """Whoever has to log in again for an act gets back to the list, and acts then."""
    visit.come()
    clock.advance(2 * 3600)
    visit.site.authority.follower().step()
    visit.browser.click("#devices li:not(.current) button")
    wait_until(lambda: f"/enter?next={AT}" in visit.browser.url)
    assert visit.other.is_logged_in
    visit.browser.click("button")
    visit.arrives(AT)
    visit.browser.click("#devices li:not(.current) button")
    visit.arrives(f"{AT}?said=ended")
    assert not visit.other.is_logged_in


def test_a_long_name_does_not_break_the_page(visit: Visit) -> None:
    """A thousand letters without a space, on a telephone; and text from right to left."""
    visit.come(width=320)
    for name in ("x" * 1000, "‏המחשב של אבא‎"):
        visit.site.authority.issue_api_token("alice", name, ["s" * 40])
        visit.site.authority.issue_login("alice", device=name[:100])
    for path in (AT, f"{AT}/tokens"):
        visit.goes_to(path)
        visit.looks(f"long{path.replace('/', '-')}")


ASKING = """{% extends "clustertoken/default/devices/logins.html" %}
{% block acts %}
<form id="asking" method="post" action="{{ url_for('.end_others') }}" data-ct-confirm="sure">
  <button>Log out all other devices</button>
</form>
<dialog id="sure" aria-labelledby="question">
  <form method="dialog"><h2 id="question">Are you sure?</h2>
    <button value="yes">Yes</button> <button class="ct-quiet" value="no">No</button></form>
</dialog>
{% endblock %}
"""


def test_a_form_may_ask_once_more(visit: Visit) -> None:
    """Where scripts run, a dialog stands before it: Escape and No send nothing, Yes does. Where
    none run, the form is sent."""
    page = Path(visit.site.app.root_path) / "templates" / "clustertoken" / "devices" / "logins.html"
    page.parent.mkdir(parents=True)
    page.write_text(ASKING)
    visit.come()
    browser = visit.browser
    for no in (ESCAPE, None):
        browser.click("#asking button")
        wait_until(lambda: browser.count("dialog[open]"))
        assert axe.findings(browser) == []
        if no is not None:
            browser.press(no)
        else:
            browser.click("dialog button[value=no]")
        wait_until(lambda: not browser.count("dialog[open]"))
        assert visit.other.is_logged_in
    browser.click("#asking button")
    browser.click("dialog button[value=yes]")
    visit.arrives(f"{AT}?said=others-ended")
    assert not visit.other.is_logged_in

    third = visit.site.person("alice")
    visit.come(scripts=False)
    browser.click("#asking button")
    visit.arrives(f"{AT}?said=others-ended")
    assert not third.is_logged_in
