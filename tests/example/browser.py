"""A real browser, driven through chromedriver's own protocol (W3C WebDriver, JSON over HTTP)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.servers.ports import spare_ports
from tests.waiting import wait_until

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    # (No test goes back; without what is kept for that a page costs three quarters as much.)
    "--disable-features=BackForwardCache,RenderDocument",
]

#: The key under which WebDriver hands out an element.
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def find_browser() -> tuple[str, str] | None:
    """The programs chromium and chromedriver, if both are there."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver") or shutil.which("chromium.chromedriver")
    return (chromium, driver) if chromium and driver else None


class Trouble(AssertionError):
    """The browser could not do it."""


class Gone(Trouble):
    """The page with that element went away meanwhile."""


#: What WebDriver calls that.
GONE = {"stale element reference", "no such element"}


class Pages:
    """What is done in a window of a browser."""

    _session: str

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Have chromedriver do something; its answer."""
        raise NotImplementedError

    def open(self, url: str) -> None:
        self._call("POST", f"{self._session}/url", {"url": url})

    @property
    def url(self) -> str:
        found: str = self._call("GET", f"{self._session}/url")
        return found

    def _find(self, css: str) -> list[str]:
        by = {"using": "css selector", "value": css}
        return [one[_ELEMENT] for one in self._call("POST", f"{self._session}/elements", by)]

    def count(self, css: str) -> int:
        return len(self._find(css))

    def _at(self, css: str, method: str, what: str, body: dict[str, Any] | None = None) -> Any:
        """Do something to the first such element; on a page that comes anew meanwhile, there."""
        answers: list[Any] = []

        def done() -> bool:
            for found in self._find(css)[:1]:
                with suppress(Gone):
                    path = f"{self._session}/element/{found}/{what}"
                    answers.append(self._call(method, path, body))
            return bool(answers)

        wait_until(done)
        return answers[0]

    def text(self, css: str = "body") -> str:
        found: str = self._at(css, "GET", "text")
        return found

    def type(self, css: str, text: str) -> None:
        self._at(css, "POST", "value", {"text": text})

    def click(self, css: str) -> None:
        self._at(css, "POST", "click")

    def resize(self, width: int, height: int) -> None:
        """The page is shown so large: smaller than a window can be, too."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **size)

    def fits(self) -> bool:
        """Whether the page is not wider than the window."""
        script = "return document.documentElement.scrollWidth <= window.innerWidth"
        found: bool = self._call(
            "POST", f"{self._session}/execute/sync", {"script": script, "args": []}
        )
        return found

    def run(self, script: str) -> Any:
        """What *script* hands to its last argument, a function."""
        body = {"script": script, "args": []}
        return self._call("POST", f"{self._session}/execute/async", body)

    def command(self, name: str, **parameters: Any) -> Any:
        """Have the browser's own tools do something (the Chrome DevTools Protocol)."""
        body = {"cmd": name, "params": parameters}
        return self._call("POST", f"{self._session}/goog/cdp/execute", body)

    def press(self, *keys: str) -> None:
        """Press and let go of each of *keys*, in turn, wherever the focus is."""
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        body = {"actions": [{"type": "key", "id": "keyboard", "actions": steps}]}
        self._call("POST", f"{self._session}/actions", body)

    def focused(self) -> str:
        """What whoever uses a screen reader hears of the element that has the focus."""
        found = self._call("GET", f"{self._session}/element/active")[_ELEMENT]
        name: str = self._call("GET", f"{self._session}/element/{found}/computedlabel")
        return name

    def cookies(self) -> dict[str, str]:
        """The cookies of the page that is open, those that no script sees included."""
        found = self._call("GET", f"{self._session}/cookie")
        return {one["name"]: one["value"] for one in found}

    def plant(self, name: str, value: str) -> None:
        """Put a cookie for the page's host into this profile."""
        cookie = {"name": name, "value": value, "path": "/", "secure": True, "httpOnly": True}
        self._call("POST", f"{self._session}/cookie", {"cookie": cookie})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", f"{self._session}/screenshot")))


class Browser(Pages):
    """One browser of its own with an empty profile; a context manager that ends it.

    *flags* are :data:`FLAGS` unless given. A *profile* that is given is kept for another browser,
    and begins with what *local_state* says; *home* is where certificates are looked for.
    """

    def __init__(
        self,
        chromium: str,
        driver: str,
        *more: str,
        flags: Sequence[str] = FLAGS,
        profile: Path | None = None,
        local_state: Mapping[str, Any] | None = None,
        home: Path | None = None,
    ) -> None:
        self._kept = profile is not None
        self._profile = str(profile or tempfile.mkdtemp(prefix="chromium-"))
        (self._port,) = spare_ports(1)
        self._driver = subprocess.Popen(
            [driver, f"--port={self._port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=None if home is None else {**os.environ, "HOME": str(home)},
        )
        self._session = ""
        arguments = [*flags, *more, f"--user-data-dir={self._profile}"]
        chrome: dict[str, Any] = {"binary": chromium, "args": arguments}
        if local_state is not None:
            chrome["localState"] = dict(local_state)
        try:
            wait_until(self._listens, 20)
            wanted = {"browserName": "chrome", "goog:chromeOptions": chrome}
            made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self._session = f"/session/{made['sessionId']}"
            #: Where its own tools listen.
            self.tools: str = made["capabilities"]["goog:chromeOptions"]["debuggerAddress"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        try:
            if self._session:
                self._call("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait(20)
            if not self._kept:
                shutil.rmtree(self._profile, ignore_errors=True)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            sent = json.dumps(body or {}) if method == "POST" else None
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            kind = Gone if value["error"] in GONE else Trouble
            raise kind(f"{value['error']}: {value['message'].splitlines()[0]}")
        return value


def log_in(browser: Pages, home: str, name: str) -> None:
    """By the example's own page, where the password is the name."""
    browser.open(f"{home}/login")
    browser.type("input[name=username]", name)
    browser.type("input[name=password]", name)
    browser.click("main button")
    wait_until(lambda: browser.url == f"{home}/")
