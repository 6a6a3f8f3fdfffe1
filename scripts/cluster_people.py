"""Who uses the cluster that ``scripts/run-cluster`` shows, and what they are answered."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

NODES = ("red", "green", "blue")
WORKERS = 2


def say(text: str) -> None:
    print(text, flush=True)


class Browser:
    """A person's browser, as far as this show needs one: it keeps the cookie."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.cookie = ""
        #: Answers of 503: a worker cannot know at the moment, and the cookie stays.
        self.waits = 0

    def ask(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data)
        request.add_header("Accept", "application/json")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if self.cookie:
            request.add_header("Cookie", self.cookie)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                self._keep(answer.headers.get("Set-Cookie"))
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                self._keep(error.headers.get("Set-Cookie"))
                self.waits += error.code == 503
                try:
                    return error.code, json.loads(error.read() or b"{}")
                except ValueError:
                    return error.code, {}

    def _keep(self, header: str | None) -> None:
        if header:
            self.cookie = header.partition(";")[0]

    def log_in(self, name: str) -> None:
        wish = {"username": name, "password": name}
        until(lambda: self.ask("/login", wish)[0] == 200, f"the login of {name}")


def until(done: Callable[[], bool], what: str, seconds: float = 60.0) -> float:
    start = time.monotonic()
    while not done():
        if time.monotonic() - start > seconds:
            raise SystemExit(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)
    return time.monotonic() - start


def up(base: str) -> bool:
    try:
        return Browser(base).ask("/readyz")[0] == 200
    except OSError:
        return False


def where(person: Browser, seconds: float = 30.0) -> set[str]:
    """The workers that answered, each having accepted the login: all of them, if they all come.

    (Which of a host's workers takes a request is for the kernel to say, and it has favourites.)
    """
    found: set[str] = set()
    end = time.monotonic() + seconds
    while len(found) < len(NODES) * WORKERS and time.monotonic() < end:
        status, me = person.ask("/api/me")
        if status == 503:
            # (A worker that is not fresh yet, or not at the moment.)
            time.sleep(0.05)
            continue
        if status != 200:
            raise SystemExit(f"the login was not accepted: {status} {me}")
        found.add(f"{me['node']['name']}:{me['node']['pid']}")
    return found


def refused(person: Browser, times: int = 30) -> bool:
    return all(person.ask("/api/me")[0] == 401 for _ in range(times))


def log_alice_out(admin: Browser, phone: Browser) -> None:
    """The administrator does, everywhere; tries again while the store is in trouble."""

    def done() -> bool:
        return admin.ask("/api/subjects/alice/logout", {})[0] == 200

    until(done, "the administrator's try")
    gone = until(lambda: refused(phone), "the administrator's log-out")
    say(f"    the administrator logged alice out everywhere: refused after {gone * 1000:.0f} ms.")
