"""One browser for all tests of a run, in front of which each is somebody else.

(A start of a browser costs as much as twenty pages. What needs flags or a profile of its own starts
a :class:`~tests.example.browser.Browser` itself.)
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NoReturn

import pytest
from simple_websocket import Client, ConnectionClosed

from .browser import Browser, Pages, Trouble, find_browser


class Somebody(Pages):
    """One window, with cookies, storage and permissions of its own."""

    def __init__(self, shared: Shared, context: str, window: str) -> None:
        self._shared = shared
        self._session = shared._session
        self._window = window
        self._context = context

    def command(self, name: str, **parameters: Any) -> Any:
        if name == "Browser.grantPermissions":
            parameters["browserContextId"] = self._context
        return super().command(name, **parameters)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        self._shared.turn_to(self._window)
        return self._shared._call(method, path, body)


class Shared(Browser):
    """The browser, with a line to its own tools: WebDriver knows no second somebody."""

    def __init__(self, chromium: str, driver: str) -> None:
        super().__init__(chromium, driver)
        with urllib.request.urlopen(f"http://{self.tools}/json/version", timeout=60) as answer:
            self._line = Client(json.load(answer)["webSocketDebuggerUrl"])
        self._asked = 0
        self._first: str = self._call("GET", f"{self._session}/window")
        self._front = self._first

    def close(self) -> None:
        with suppress(AttributeError, ConnectionClosed):
            self._line.close()
        with suppress(Trouble, OSError):  # (of one that died)
            super().close()

    @property
    def lives(self) -> bool:
        """Whether both of its lines are answered."""
        try:
            self._ask("Browser.getVersion")
            self._call("GET", f"{self._session}/window")
        except (AssertionError, ConnectionClosed, OSError):
            return False
        return True

    def _ask(self, method: str, **parameters: Any) -> Any:
        """Have the browser's own tools do what no page of it may ask for."""
        self._asked += 1
        self._line.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while True:
            said = self._line.receive(timeout=60)
            assert said is not None, f"no answer to {method}"
            answer = json.loads(said)
            if answer.get("id") == self._asked:
                return answer["result"]

    def turn_to(self, window: str) -> None:
        """What chromedriver is told from here on is meant for that window."""
        if window != self._front:
            self._call("POST", f"{self._session}/window", {"handle": window})
            self._front = window

    @contextmanager
    def somebody(self) -> Iterator[Somebody]:
        """Somebody who was never here before; of them nothing is left."""
        context = self._ask("Target.createBrowserContext", disposeOnDetach=True)["browserContextId"]
        made = self._ask("Target.createTarget", url="about:blank", browserContextId=context)
        try:
            yield Somebody(self, context, made["targetId"])
        finally:
            self.turn_to(self._first)
            self._ask("Target.disposeBrowserContext", browserContextId=context)


def missing(what: str) -> NoReturn:
    """Leave the test out, or let it fail where the run promises that nothing is missing."""
    if os.environ.get("CLUSTERTOKEN_TEST_SERVERS") == "required":
        pytest.fail(what)
    pytest.skip(what)


@cache
def _running(config: pytest.Config) -> Shared:
    programs = find_browser()
    if programs is None:
        missing("chromium and chromedriver are not both installed")
    shared = Shared(*programs)
    config.add_cleanup(shared.close)
    return shared


def _that_lives(config: pytest.Config) -> Shared:
    shared = _running(config)
    if shared.lives:
        return shared
    # (The test in which it died failed, and says why. Those behind it get another one.)
    _running.cache_clear()
    return _running(config)


@contextmanager
def somebody(config: pytest.Config) -> Iterator[Somebody]:
    """Somebody in front of the browser of this run, which starts with the first."""
    with _that_lives(config).somebody() as one:
        yield one
