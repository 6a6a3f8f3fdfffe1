"""Bound logins on a store of any kind: two processes on it, a thief, and what a refresh costs.

A folder that has a server offers the fixtures ``url`` and ``realm``, and a class of its own that
derives from :class:`BoundLoginsOver`.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from flask import Flask, jsonify

from flask_clustertoken import ClusterToken, current_token, token_required
from flask_clustertoken.clock import SystemClock
from flask_clustertoken.extension import state_of
from flask_clustertoken.stores import observe
from flask_clustertoken.stores.base import ClusterStore
from tests.forked import Forked
from tests.gunicorn.ways import SECRET
from tests.rounds import rounds
from tests.waiting import wait_until

from .parts import LOGIN, Browser, new_key, spelled

#: Calls that leave something in a store, beside what a node says of itself.
WRITES = {"add", "put", "touch", "delete", "append"}

REFRESHES = 20


class Process:
    """A node in a process of its own."""

    def __init__(self, url: str, realm: str, token_store: str) -> None:
        self._process = Forked("tests.binding.process", url, realm, token_store, store=url)

    def say(self, do: str, **more: Any) -> None:
        self._process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """What comes of it, once this node is sure enough of itself."""
        answers: list[dict[str, Any]] = []

        def is_sure() -> bool:
            self.say(do, **more)
            answers.append(self.hear())
            return "trouble" not in answers[-1]

        wait_until(is_sure, 60)
        return answers[-1]

    def judges(self, text: str, *proofs: str) -> str:
        """What it says of a login; of one that it is not fresh enough to judge it says nothing."""
        said: list[str] = []

        def is_certain() -> bool:
            said.append(self.ask("judge", text=text, proofs=proofs)["said"])
            return said[-1] != "stale"

        wait_until(is_certain, 60)
        return said[-1]

    def close(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(30)
        self._process.close()


def watch_writes(store: ClusterStore) -> list[str]:
    """What any thread writes by this handle from now on, house-keeping's own leases aside."""
    written: list[str] = []

    def watched(name: str) -> Callable[..., Any]:
        call = getattr(store, name)

        def noted(*args: Any, **more: Any) -> Any:
            keys = [args[0]]
            if name == "append":
                entries, changes = (*args, ())[:2]
                keys = [
                    *("a revocation" for _ in entries),
                    *(getattr(one, "key", "lease/") for one in changes),
                ]
            written.extend(f"{name} {key}" for key in keys if not key.startswith("lease/"))
            return call(*args, **more)

        return noted

    for name in WRITES:
        setattr(store, name, watched(name))
    return written


class BoundLoginsOver:
    """With the token stores ``session`` and ``cookie``."""

    @pytest.fixture(params=["session", "cookie"])
    def token_store(self, request: pytest.FixtureRequest) -> str:
        found: str = request.param
        return found

    @pytest.fixture
    def processes(self, url: str, realm: str, token_store: str) -> Iterator[list[Process]]:
        with ExitStack() as running:
            yield [
                running.enter_context(closing(Process(url, realm, token_store))) for _ in range(2)
            ]

    @pytest.fixture
    def browser(self, url: str, realm: str, token_store: str) -> Iterator[Browser]:
        app = Flask("bound")
        given = {"STORE": url, "REALM": realm, "TOKEN_STORE": token_store, "SECRET": SECRET}
        given["DEVICE_BOUND"] = "offer"
        app.config.update({f"CLUSTERTOKEN_{name}": one for name, one in given.items()})
        tokens = ClusterToken(app)

        @app.post("/login/<subject>")
        def login(subject: str) -> Any:
            return jsonify(id=tokens.login(subject).id)

        @app.get("/me")
        @token_required
        def me() -> str:
            return str(current_token.subject)

        yield Browser(app, SystemClock())
        state_of(app).authority.close()

    def test_of_two_processes_that_bind_one_login_one_wins(
        self, processes: list[Process], token_store: str
    ) -> None:
        """In one step of the store: nothing is left of the other one's, and the winner's is good
        at both."""
        one, two = processes
        for number in range(rounds(10, 200)):
            subject = f"alice-{number}"
            text = one.ask("login", subject=subject)["text"]
            wait_until(lambda text=text: two.judges(text) == "accepted", 60)  # type: ignore[misc]
            for process in processes:
                process.say("bind", text=text, key=spelled(new_key()))
            answers = [process.hear() for process in processes]
            if any("trouble" in one for one in answers):
                continue
            assert sorted(one["bound"] for one in answers) == [False, True]
            bound = next(one for one in answers if one["bound"])
            for process in processes:
                assert process.judges(bound["text"], bound["proof"]) == "accepted"
                if token_store == "session" and not number:
                    assert process.ask("listed", subject=subject)["bound"] == [False, True]

    def test_a_thief_with_a_copy_is_refused_by_every_process(
        self, processes: list[Process]
    ) -> None:
        """And the browser that has the proof is not, until another process ends its login."""
        one, two = processes
        text = one.ask("login", subject="alice")["text"]
        bound = one.ask("bind", text=text, key=spelled(new_key()))
        for process in processes:
            assert process.judges(bound["text"]) == "unproven"
            assert process.judges(bound["text"], "forged") == "unproven"
            assert process.judges(bound["text"], bound["proof"]) == "accepted"
            assert process.judges(bound["text"]) == "unproven"
        one.ask("end", subject="alice")
        for process in processes:
            wait_until(
                lambda process=process: (  # type: ignore[misc]
                    process.judges(bound["text"], bound["proof"]) == "revoked"
                ),
                60,
            )
        assert two.judges(text) == "revoked"

    def test_a_refresh_writes_nothing(self, browser: Browser) -> None:
        """Nor does it ask the store for anything: a hundred thousand browsers do it all day."""
        browser.log_in()
        assert browser.session is not None
        assert browser.visit().status_code == 200
        authority = state_of(browser.app).authority
        # (The unbound login ends a while after the first use of the bound one: that is one write.)
        authority.proving.end_due(leaving=True)
        asked: Counter[str] = Counter()
        here = threading.get_ident()

        def note(call: str, *_: object) -> None:
            if threading.get_ident() == here:
                asked[call] += 1

        observe(authority.store, note)
        written = watch_writes(authority.store)
        for _ in range(REFRESHES):
            assert browser.refresh().status_code == 200
            assert browser.visit().status_code == 200
        # (What was left for behind the requests is done before this.)
        done = threading.Event()
        authority.follower().soon(done.set)
        wait_until(done.is_set, 60)
        assert asked == {}
        assert written == []

    def test_a_thief_s_request_is_refused_over_http(self, browser: Browser) -> None:
        """With all that an info-stealer finds that does not end by itself."""
        browser.log_in()
        assert browser.visit().status_code == 200
        thief = Browser(browser.app, SystemClock())
        thief.cookies = browser.copy(LOGIN)
        response = thief.send("/me")
        assert response.json is not None
        assert (response.status_code, response.json["reason"]) == (401, "unproven")
        assert browser.visit().status_code == 200
