"""What a request may do: work is counted here, not time, so that the answer is always the same.

A seen token touches neither the store nor cryptography, and nobody's cookies are parsed. What
is counted is what costs: calls to the store, signatures, cookies read and cookies written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import werkzeug.sansio.request
from flask import Flask

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension import state_of
from flask_clustertoken.tokens import Token, Wire
from flask_clustertoken.wsgi import Cookie, cookies
from tests.extension.parts import DAY, MakeApp, api_text, bearer, cookie, login_text, watch

pytestmark = pytest.mark.parametrize("token_store", ["session", "cookie"])

#: A number that this process has mapped into memory: no call of a server, no system call.
LOCAL = {"position"}


class Work:
    """Counts what costs, while :meth:`during` runs."""

    def __init__(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = watch(app)
        # What may wait is left to the follower, as where others see the store too.
        self.store.shared = True
        self.client = app.test_client(use_cookies=False)
        self._done: Counter[str] = Counter()
        self._count(monkeypatch, Wire, "sign", "signature")
        self._count(monkeypatch, Cookie, "values", "cookie cut")
        self._count(monkeypatch, cookies, "dump_cookie", "cookie written")
        self._count(monkeypatch, werkzeug.sansio.request, "parse_cookie", "cookies parsed")

    def _count(self, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, what: str) -> None:
        real = getattr(where, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._done[what] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(where, name, counted)

    @contextmanager
    def during(self) -> Iterator[dict[str, int]]:
        """What was done inside, by name; filled in at the end."""
        found: dict[str, int] = {}
        self._done.clear()
        self.store.calls.clear()
        yield found
        found.update(self._done)
        found.update({name: n for name, n in self.store.calls.items() if name not in LOCAL})

    def of(self, path: str, headers: dict[str, str]) -> dict[str, int]:
        """What one request to *path* does."""
        with self.during() as done:
            assert self.client.get(path, headers=headers).status_code == 200
        return done


@pytest.fixture
def app(make_app: MakeApp, token_store: str) -> Flask:
    return make_app(TOKEN_STORE=token_store)[0]


@pytest.fixture
def work(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(app, monkeypatch)


@pytest.fixture
def text(app: Flask, work: Work) -> str:
    """A login that this process has not seen."""
    text = login_text(app)
    state_of(app).authority.remembered.clear()
    return text


def test_seen_token(work: Work, text: str, token_store: str) -> None:
    """A request with a token that was seen before cuts one cookie out, and nothing else."""
    work.of("/me", cookie(text))

    assert work.of("/me", cookie(text)) == {"cookie cut": 1}


def test_seen_token_among_many_cookies(work: Work, text: str, token_store: str) -> None:
    """Other people's cookies are not parsed."""
    headers = {"Cookie": f"a=1; {cookie(text)['Cookie']}; theme=dark"}
    work.of("/me", headers)

    assert work.of("/me", headers) == {"cookie cut": 1}


def test_seen_token_once_a_request(work: Work, text: str, token_store: str) -> None:
    """A view that asks again and again looks at the token once."""
    work.of("/maybe", cookie(text))

    assert work.of("/maybe", cookie(text)) == {"cookie cut": 1}


def test_seen_api_token(app: Flask, work: Work, token_store: str) -> None:
    """An API token that was seen before costs neither a signature nor a call."""
    headers = bearer(api_text(app))
    work.of("/me", headers)

    assert work.of("/me", headers) == {}


def test_first_sight(work: Work, text: str, token_store: str) -> None:
    """The first request with a token checks one signature and reads one record at most."""
    done = work.of("/me", cookie(text))

    assert done.pop("get_many", 0) + done.pop("get", 0) == (1 if token_store == "session" else 0)
    assert done == {"cookie cut": 1, "signature": 1}


def test_request_that_nobody_looked_at(work: Work, text: str, token_store: str) -> None:
    """Where the view does not look, the cookie is not even searched for."""
    assert work.of("/public", cookie(text)) == {}


def test_request_without_a_token(work: Work, text: str, token_store: str) -> None:
    """A look at a request that brought nothing asks nobody."""
    assert work.of("/maybe", {}) == {"cookie cut": 1}


def test_garbage(work: Work, text: str, token_store: str) -> None:
    """Garbage costs whoever sends it a request, and us the cookie that removes it."""
    assert work.of("/maybe", cookie("garbage")) == {"cookie cut": 1, "cookie written": 1}


def test_renewal(work: Work, text: str, token_store: str, clock: ManualClock) -> None:
    """A renewal writes one cookie, signs once, and touches the record once at most."""
    clock.advance(2 * DAY)
    # After two days nothing is vouched for, and the lifetime is announced again: both once.
    login_text(work.client.application)
    state_of(work.client.application).authority.authenticate(text)

    done = work.of("/me", cookie(text))

    assert done.pop("touch", 0) == (1 if token_store == "session" else 0)
    assert done == {"cookie cut": 1, "signature": 1, "cookie written": 1}


#: Calls that write: on a cluster each is a round of a majority of its servers. (A look at the
#: head is one there too: it stands behind a write of its own.)
WRITES = {"add", "put", "touch", "delete", "append", "head", "announce", "vouch"}


def writes(done: dict[str, int]) -> int:
    return sum(number for name, number in done.items() if name in WRITES)


def test_login(app: Flask, work: Work, text: str, token_store: str) -> None:
    """A login is two writes: its number, and one step with its record and the feed's head."""
    authority = state_of(app).authority
    with work.during() as done:
        authority.issue_login("alice", since=authority.begin())

    assert writes(done) == 2
    assert done.get("append", 0) == (1 if token_store == "session" else 0)


def test_login_that_replaces_another(app: Flask, work: Work, text: str, token_store: str) -> None:
    """The end of the login that it stands on is in the same step."""
    authority = state_of(app).authority
    old = authority.issue_login("alice").token
    with work.during() as done:
        authority.issue_login("alice", since=authority.begin(), replaces=old, on=old)

    assert writes(done) == 2


def test_api_token(app: Flask, work: Work, text: str, token_store: str) -> None:
    """An API token is one write, also where it stands on a login."""
    authority = state_of(app).authority
    asked = authority.authenticate(text)
    assert isinstance(asked, Token)
    with work.during() as done:
        authority.issue_api_token("alice", "ci", on=asked)

    assert writes(done) == 1


def test_logout(work: Work, text: str, token_store: str) -> None:
    """A log-out is one write, and nothing is read before it."""
    work.of("/me", cookie(text))
    with work.during() as done:
        assert work.client.post("/logout", headers=cookie(text)).status_code == 200

    assert writes(done) == done["append"] == 1
    assert not {"get_many", "get", "read"} & set(done)
