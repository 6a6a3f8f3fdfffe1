"""The demo, with a real browser: log in, see your name, sign out at Keycloak, be logged out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from scripts.keycloak_show import HOSTS, start_app
from tests.example.browser import Browser, find_browser
from tests.keycloak.nodes import ROOT
from tests.keycloak.server import Keycloak
from tests.servers.ports import spare_ports
from tests.waiting import came_true, wait_until

pytestmark = pytest.mark.keycloak


@pytest.fixture(scope="module", params=["session", "cookie"])
def demo(
    request: pytest.FixtureRequest, server: Keycloak, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The demo's app on two hosts behind nginx, at its address; each has one worker."""
    (port,) = spare_ports(1)
    node_port = spare_ports(1, HOSTS)[0]
    server.make_client(
        "demo-app",
        secret="demo-app-secret",
        redirectUris=[f"http://127.0.0.1:{port}/*"],
        adminUrl=f"http://${{application.session.host}}:{node_port}/keycloak",
        attributes={"pkce.code.challenge.method": "S256"},
    )
    with ExitStack() as stack:
        yield start_app(
            stack,
            tmp_path_factory.mktemp("demo"),
            port=port,
            node_port=node_port,
            keycloak=server.url,
            token_store=request.param,
            workers=1,
        )
    server.remove_client("demo-app")


@pytest.fixture
def browser() -> Iterator[Browser]:
    programs = find_browser()
    if programs is None:
        if os.environ.get("CLUSTERTOKEN_TEST_SERVERS") == "required":
            pytest.fail("chromium and chromedriver are not installed")
        pytest.skip("chromium and chromedriver are not installed")
    with Browser(*programs) as started:
        yield started


def log_in(browser: Browser, demo: str, name: str) -> None:
    browser.open(demo)
    browser.click("#login")
    browser.type("#username", name)
    browser.type("#password", name)
    browser.click("#kc-login")
    there = came_true(lambda: browser.count("#name"), 20)
    assert there, f"{browser.url}: {browser.text()[:500]}"


def test_signing_out_in_the_account_console(server: Keycloak, demo: str, browser: Browser) -> None:
    """A browser logs in and sees its name; after the account console's "Sign out" it is asked
    to log in again, password and all."""
    log_in(browser, demo, "alice")
    assert "Alice Anders" in browser.text("#name")

    browser.open(f"{server.issuer}/account/")
    # The console is a JavaScript app; its menu is behind the user's name.
    menu = "[data-testid='options-toggle']"
    sign_out = "[data-testid='options'] button, [role='menuitem']"
    wait_until(lambda: browser.count(menu), 30)
    wait_until(lambda: browser.count(sign_out) or browser.click(menu), 20)
    browser.click(sign_out)
    wait_until(lambda: browser.count("#kc-login"), 20)

    browser.open(demo)
    assert browser.count("#nobody") == 1
    browser.click("#login")
    wait_until(lambda: browser.count("#password"), 20)


def test_logging_out_of_the_demo(server: Keycloak, demo: str, browser: Browser) -> None:
    """The demo's "Log out" ends both logins, by way of Keycloak and without a question."""
    server.log_out("bob")
    log_in(browser, demo, "bob")
    browser.open(f"{demo}/editors")
    assert "needs the role editor" in browser.text()
    browser.open(demo)
    browser.click("#logout")

    wait_until(lambda: browser.count("#nobody"), 20)
    assert browser.url.rstrip("/") == demo
    assert server.sessions("bob") == []


def test_programs_bring_a_bearer_token(server: Keycloak, demo: str) -> None:
    """The demo's API takes Keycloak's own access tokens."""
    body = {"grant_type": "password", "scope": "openid", "username": "alice", "password": "alice"}
    token = requests.post(
        server.token_endpoint, data=body, auth=("demo-app", "demo-app-secret"), timeout=20
    ).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}

    answer = requests.get(f"{demo}/api/hello", headers=headers, timeout=10)

    assert answer.status_code == 200
    assert answer.json()["hello"] == "alice"
    assert "editor" in answer.json()["roles"]
    assert requests.get(f"{demo}/api/hello", timeout=10).status_code == 401


def test_the_show_starts_and_stops(tmp_path: Path) -> None:
    """``scripts/run-keycloak`` comes up, says what to click, and leaves nothing behind."""
    port, keycloak_port = spare_ports(2)
    output = tmp_path / "output"
    with output.open("wb") as file:
        show = subprocess.Popen(
            [sys.executable, "-m", "scripts.keycloak_show"],
            cwd=ROOT,
            env={
                **os.environ,
                "PORT": str(port),
                "KEYCLOAK_PORT": str(keycloak_port),
                "TMPDIR": str(tmp_path),
            },
            stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            # A test run in the background ignores Ctrl-C, and what it starts would too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
    try:
        wait_until(lambda: "Ctrl-C" in output.read_text() or show.poll() is not None, 150)
        assert show.poll() is None, output.read_text()
        page = requests.get(f"http://127.0.0.1:{port}/", timeout=10)
        assert "Nobody is logged in" in page.text
        nodes = requests.get(f"http://127.0.0.1:{keycloak_port}/realms/demo", timeout=10)
        assert nodes.status_code == 200
    finally:
        show.send_signal(signal.SIGINT)
        show.wait(60)
    assert "nothing was left behind" in output.read_text()
    assert [one.name for one in tmp_path.iterdir() if one.name != "output"] == []
    for url in (f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{keycloak_port}/"):
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=5)
