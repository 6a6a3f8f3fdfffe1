"""The real htmx 2 and 4, and the real Turbo, in a real browser: what a person sees.

The table itself is in ``tests/regressions/test_ways_on.py``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from flask_clustertoken.clock import ManualClock
from tests.example.browser import Pages, Trouble
from tests.example.somebody import missing, somebody
from tests.extension.parts import MakeApp, WatchedStore, watch
from tests.servers.ports import spare_ports
from tests.waiting import wait_until

from .site import add_site, fetch, serving

pytestmark = pytest.mark.browser


class Visit:
    """A person in front of the site."""

    def __init__(self, browser: Pages, port: int, store: WatchedStore, clock: ManualClock) -> None:
        self.home = f"http://127.0.0.1:{port}"
        self.browser = browser
        self.store = store
        self.clock = clock

    def open(self, client: str) -> None:
        self.browser.open(f"{self.home}/page/{client}")
        wait_until(lambda: self.browser.count("h1"))

    def sign_in(self) -> None:
        self.browser.open(f"{self.home}/sign-in")
        self.browser.click("#sign-in")
        self.arrives_at("/page/plain")

    def arrives_at(self, path: str) -> None:
        wait_until(lambda: self.browser.url == self.home + path)

    def sees(self, text: str, css: str = "body") -> None:
        def is_there() -> bool:
            try:
                return text in self.browser.text(css)
            except Trouble:
                return False  # the page went away while it was read

        wait_until(is_there)

    def cut_off(self) -> None:
        """From here on the node cannot know who is logged in."""
        self.store.cut_off()
        self.clock.advance(60)


@pytest.fixture(scope="module")
def browser(pytestconfig: pytest.Config) -> Iterator[Pages]:
    if shutil.which("npm") is None:
        missing("npm is not installed")
    fetch()
    with somebody(pytestconfig) as one:
        yield one


@pytest.fixture
def visit(browser: Pages, make_app: MakeApp, clock: ManualClock) -> Iterator[Visit]:
    app, tokens = make_app(LOGIN_VIEW="sign_in", COOKIE_SECURE=False)
    add_site(app, tokens)
    store = watch(app)
    (port,) = spare_ports(1)
    with serving(app, port):
        browser.command("Network.clearBrowserCookies")
        yield Visit(browser, port, store, clock)
        browser.open("about:blank")


#: (client, what is used, where the login leads back to)
ENDED = [
    ("plain", "#link", "/secret"),
    ("plain", "#form button", "/page/plain"),
    ("htmx2", "#link", "/secret"),
    ("htmx2", "#form button", "/page/htmx2"),
    ("htmx2", "#part", "/page/htmx2"),
    ("htmx4", "#link", "/secret"),
    ("htmx4", "#form button", "/page/htmx4"),
    ("htmx4", "#part", "/page/htmx4"),
    ("turbo", "#link", "/secret"),
    ("turbo", "#form button", "/page/turbo"),
    ("turbo", "#frame", "/page/turbo"),
    ("turbo", "#frame-form button", "/page/turbo"),
]


@pytest.mark.parametrize(("client", "css", "back"), ENDED)
def test_after_the_sessions_end_a_person_gets_to_the_login_and_back(
    visit: Visit, client: str, css: str, back: str
) -> None:
    """The login page is a page of its own, and leads to what was wanted or to where one was."""
    visit.open(client)

    visit.browser.click(css)

    visit.arrives_at(f"/sign-in?next={quote(back, safe='/')}")
    visit.sees("Sign in", "h1")
    visit.browser.click("#sign-in")
    visit.arrives_at(back)


@pytest.mark.parametrize("client", ["plain", "htmx2", "htmx4", "turbo"])
def test_a_node_that_cannot_know_is_a_page_that_goes_on_by_itself(
    visit: Visit, client: str
) -> None:
    """A link leads to a page that says so, and to what was wanted once the node can know again."""
    visit.sign_in()
    visit.open(client)
    visit.cut_off()

    visit.browser.click("#link")

    visit.sees("tries again by itself")
    assert visit.browser.url == f"{visit.home}/secret"
    visit.store.mend()
    visit.sees("the secret")


@pytest.mark.parametrize("client", ["plain", "turbo"])
def test_a_form_is_not_sent_a_second_time(visit: Visit, client: str) -> None:
    """The page says that it did not work, and does nothing by itself."""
    visit.sign_in()
    visit.open(client)
    visit.cut_off()

    visit.browser.click("#form button")

    visit.sees("The login cannot be checked at the moment.")
    assert "tries again" not in visit.browser.text()


@pytest.mark.parametrize("client", ["htmx2", "htmx4"])
def test_a_part_of_a_page_stays_and_can_be_asked_for_again(visit: Visit, client: str) -> None:
    """Neither JSON nor a page appears inside the page, and the button goes on working."""
    visit.sign_in()
    visit.open(client)
    visit.cut_off()

    visit.browser.click("#part")
    visit.browser.click("#part-forbidden")
    visit.store.mend()
    assert visit.browser.text("#target") == "untouched"
    visit.browser.click("#part")

    visit.sees("the part", "#target")


@pytest.mark.parametrize(
    ("client", "css", "where", "at"),
    [
        ("plain", "#forbidden", "body", "/robots"),
        ("htmx2", "#forbidden", "body", "/robots"),
        ("htmx4", "#forbidden", "body", "/robots"),
        ("turbo", "#forbidden", "body", "/robots"),
        ("turbo", "#frame-forbidden", "#news", "/page/turbo"),
    ],
)
def test_what_is_forbidden_is_said(
    visit: Visit, client: str, css: str, where: str, at: str
) -> None:
    """As a page of its own, or within the frame that was meant for the answer."""
    visit.sign_in()
    visit.open(client)

    visit.browser.click(css)

    visit.sees("This needs an API token", where)
    visit.arrives_at(at)


def test_a_frame_asks_again_within_itself(visit: Visit) -> None:
    """The frame says what happened, with a link; the page around it stays."""
    visit.sign_in()
    visit.open("turbo")
    visit.cut_off()

    visit.browser.click("#frame")

    visit.sees("The login cannot be checked at the moment.", "#news")
    visit.store.mend()
    visit.browser.click("#news a")
    visit.sees("the part", "#news")
    visit.arrives_at("/page/turbo")
