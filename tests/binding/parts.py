"""A browser that speaks DBSC as Chromium 156 did, and what it visits.

Its parts can be played apart, so that a test may get any of them wrong: a proof, a key, a header.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, jsonify, request
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from werkzeug.test import Client, TestResponse

from flask_clustertoken import ClusterToken, current_token, token_policy, token_required
from flask_clustertoken.binding.proof import read
from flask_clustertoken.clock import Clock, ManualClock
from flask_clustertoken.extension import state_of
from flask_clustertoken.tokens import Token
from tests.extension.parts import MakeApp
from tests.waiting import wait_until

LOGIN, BOUND = "__Host-clustertoken", "__Host-clustertoken-bound"
REGISTRATION, CHALLENGE = "Secure-Session-Registration", "Secure-Session-Challenge"

MakeSite = Callable[..., Flask]


def new_key() -> ECKey:
    return ECKey.generate_key("P-256")


def spelled(key: ECKey) -> str:
    """The public part of *key*, as tokens spell it."""
    return read(proof(key, "", brings=key)).key


def proof(
    key: Any,
    challenge: str,
    *,
    brings: Any = None,
    alg: str = "ES256",
    typ: str = "dbsc+jwt",
    **payload: Any,
) -> str:
    """What a browser signs; *brings*: the key that goes along, with a registration."""
    header: dict[str, Any] = {"alg": alg, "typ": typ}
    if brings is not None:
        header["jwk"] = brings.as_dict(private=False)
        header["jwk"] = {name: header["jwk"][name] for name in ("kty", "crv", "x", "y")}
    said = json.dumps({"jti": challenge, **payload})
    return jws.serialize_compact(header, said, key, algorithms=[alg])


def forged(wrong: str, challenge: str, key: ECKey | None = None) -> str:
    """A proof that is none: *wrong* says what is the matter with it. By *key*, if it has one."""
    key = key or new_key()
    if wrong == "nothing":
        return ""
    if wrong == "rubbish":
        return "a.b.c"
    if wrong == "no key":
        return proof(key, challenge)
    if wrong == "another key":
        return proof(key, challenge, brings=new_key())
    if wrong == "typ":
        return proof(key, challenge, brings=key, typ="jwt")
    if wrong == "P-384":
        return _raw({"alg": "ES384"}, challenge, ECKey.generate_key("P-384"))
    if wrong == "RS256":
        return _raw({"alg": "RS256"}, challenge, RSAKey.generate_key(2048))
    good = proof(key, challenge, brings=key)
    return _with_header(good, alg=wrong)


def _raw(header: dict[str, Any], challenge: str, key: Any) -> str:
    header = {**header, "typ": "dbsc+jwt", "jwk": key.as_dict(private=False)}
    registry = jws.JWSRegistry(algorithms=[header["alg"]])
    registry.max_header_length = 4096
    return jws.serialize_compact(header, json.dumps({"jti": challenge}), key, registry=registry)


def _with_header(good: str, **changed: str) -> str:
    """The same text under another header: without a signature where ``none`` is claimed."""
    header, payload, signature = good.split(".")
    said = json.loads(base64.urlsafe_b64decode(header + "=="))
    said.update(changed)
    raw = base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
    return f"{raw}.{payload}.{'' if changed.get('alg') == 'none' else signature}"


def parameter(header: str, name: str) -> str:
    """The text of one parameter of a structured field."""
    return header.partition(f'{name}="')[2].partition('"')[0]


class Browser:
    """One profile of a browser: cookies with their ends, at most one session, and its key."""

    def __init__(self, app: Flask, clock: Clock) -> None:
        self.app = app
        self.clock = clock
        self.cookies: dict[str, tuple[str, float]] = {}
        self.key: ECKey | None = None
        self.session: dict[str, Any] | None = None
        self.offered = ""
        #: Statuses of all that a page has asked for, the browser's own requests aside.
        self.seen: list[int] = []

    # cookies

    def has(self, name: str) -> str:
        value, ends = self.cookies.get(name, ("", 0.0))
        return value if self.clock.time() < ends else ""

    def take(self, response: TestResponse) -> None:
        for header in response.headers.getlist("Set-Cookie"):
            for name, morsel in SimpleCookie(header).items():
                age = morsel["max-age"]
                life = float(age) if age != "" else 1e9
                self.cookies[name] = (morsel.value, self.clock.time() + life)

    def copy(self, *names: str) -> dict[str, tuple[str, float]]:
        """What an info-stealer takes along: texts, whose ends it does not care for."""
        return {name: (self.has(name), float("inf")) for name in names if self.has(name)}

    # requests

    def send(
        self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None, **more: Any
    ) -> TestResponse:
        """One request with the cookies, whatever there is to be said of them."""
        sent = "; ".join(f"{name}={self.has(name)}" for name in self.cookies if self.has(name))
        client = Client(self.app, use_cookies=False)
        response = client.open(
            path,
            method=method,
            base_url="https://localhost",
            headers={**({"Cookie": sent} if sent else {}), **(headers or {})},
            buffered=True,
            **more,
        )
        self.take(response)
        return response

    def visit(self, path: str = "/me", *, method: str = "GET", **more: Any) -> TestResponse:
        """As a page asks: a session whose cookie is over is refreshed first."""
        if self.session is not None and not self.has(self.session["credentials"][0]["name"]):
            self.refresh()
        response = self.send(path, method=method, **more)
        self.seen.append(response.status_code)
        self.offered = response.headers.get(REGISTRATION, "") or self.offered
        return response

    # DBSC

    def log_in(self, subject: str = "alice", *, register: bool = True) -> TestResponse:
        response = self.visit(f"/login/{subject}", method="POST")
        if register:
            self.register()
        return response

    def register(self, offered: str | None = None, **more: Any) -> TestResponse:
        """What is done at once with an offer; a new key each time."""
        offered = self.offered if offered is None else offered
        self.key = new_key()
        said = proof(self.key, parameter(offered, "challenge"), brings=self.key, **more)
        response = self.send_proof(parameter(offered, "path"), said)
        if response.status_code == 200:
            self.session = response.json
        return response

    def send_proof(self, path: str, said: str, session: str | None = None) -> TestResponse:
        headers = {"Secure-Session-Response": said} if said else {}
        if session is not None:
            headers["Sec-Secure-Session-Id"] = session
        return self.send(path, method="POST", headers=headers)

    def challenged(self) -> str:
        """The challenge of a refresh that brought no proof."""
        assert self.session is not None
        response = self.send_proof(
            self.session["refresh_url"], "", self.session["session_identifier"]
        )
        assert response.status_code == 403, response.data
        assert parameter(response.headers[CHALLENGE], "id") == self.session["session_identifier"]
        return response.headers[CHALLENGE].split('"')[1]

    def refresh(self) -> TestResponse:
        """Ask, sign, and take what comes; any other 4xx ends the session."""
        assert self.session is not None
        path, name = self.session["refresh_url"], self.session["session_identifier"]
        response = self.send_proof(path, "", name)
        if response.status_code == 403:
            challenge = response.headers[CHALLENGE].split('"')[1]
            response = self.send_proof(path, proof(self.key, challenge), name)
        if 400 <= response.status_code < 500:
            self.session = None
        return response

    def restart(self) -> None:
        """Sessions survive it, and cookies with an end; not what the browser forgot to save."""
        self.cookies.pop(BOUND, None)


@pytest.fixture(params=["session", "cookie"])
def make_site(request: pytest.FixtureRequest, make_app: MakeApp, tmp_path: Path) -> MakeSite:
    """Apps that offer to bind logins, in both token stores; *shared*: several on one directory."""

    def make(name: str = "app", *, shared: bool = False, **settings: Any) -> Flask:
        given = {"DEVICE_BOUND": "offer", "TOKEN_STORE": request.param, **settings}
        if shared:
            given["STORE"] = f"directory://{tmp_path / 'shared'}"
        app, tokens = make_app(name, **given)
        add_views(app, tokens)
        return app

    return make


def add_views(app: Flask, tokens: ClusterToken) -> None:
    @app.get("/bound")
    @token_required(bound=True)
    def bound() -> Any:
        return jsonify(subject=current_token.subject)

    @app.get("/bound-if-any")
    @token_policy(bound=True)
    def bound_if_any() -> str:
        return current_token.subject or "nobody"

    @app.post("/everywhere")
    def everywhere() -> Any:
        keep = "all" not in request.args
        return jsonify(ended=tokens.logout_everywhere(keep_current=keep) is not None)


def token_of(browser: Browser) -> Token:
    """The token that the browser's login cookie spells, whatever may prove it."""
    found = state_of(browser.app).authority.authenticate(browser.has(LOGIN), proofs=None)
    assert isinstance(found, Token), found
    return found


def step(app: Flask) -> None:
    """A round of the app's node: nothing else takes its steps in these tests."""
    state_of(app).authority.follower().step()


def later(clock: ManualClock, seconds: float, *apps: Flask) -> None:
    """Let time pass for *apps* on one shared store, whose nodes take steps by threads too.

    (A step that was under way when the clock was moved is one that failed: the next is made soon,
    and not by each request.)
    """
    clock.advance(seconds)
    for app in apps:
        step(app)
        wait_until(lambda app=app: state_of(app).authority.readiness().fresh)  # type: ignore[misc]
