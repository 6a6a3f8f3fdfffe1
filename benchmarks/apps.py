"""The applications that are compared: one view, each with another way to know who asks.

``GET /me`` answers the name of whoever is logged in, ``POST /login`` logs alice in. What a
package does by default is left as it is, except that none of them is given a permanent
session: that would write a cookie with every answer. Environment variables say where the
servers are, so that gunicorn's workers find them too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from http.cookies import SimpleCookie
from typing import Any

from flask import Flask, abort, g, request, session
from werkzeug.test import Client

SECRET = "a secret of the benchmarks, long enough"
NAME = "alice"

#: A cookie of the size of ours, for applications that know of none.
COOKIE = {"Cookie": "__Host-clustertoken=" + "x" * 270}

#: What the floor takes for a login, of the same size.
FLOOR = "f" * 270

Build = Callable[[], Flask]


@dataclass(frozen=True, slots=True)
class Peer:
    """One application: how to build it, and what a reader should know of it."""

    build: Build
    title: str
    #: What it does for each request of a logged-in user.
    does: str
    ours: bool = False
    #: What the client sends where the application hands nothing out.
    sends: dict[str, str] = field(default_factory=dict)


def _app(secret: bool = False) -> Flask:
    app = Flask("benchmarks", static_folder=None)
    if secret:
        app.config["SECRET_KEY"] = SECRET
    return app


def bare() -> Flask:
    app = _app()

    @app.get("/me")
    def me() -> str:
        return NAME

    return app


def floor() -> Flask:
    """The least that any such check can do: it knows of no revocation and trusts its clock.

    The cookie is cut out by hand and looked up among those seen; caches are told that the answer
    is one reader's.
    """
    app = _app()
    seen: dict[str, tuple[str, float]] = {}
    key = "__Host-floor="

    @app.post("/login")
    def login() -> Any:
        return "", {"Set-Cookie": f"{key}{FLOOR}; Path=/; Secure; HttpOnly"}

    def protected(view: Callable[[], str]) -> Callable[[], Any]:
        @wraps(view)
        def checked() -> Any:
            header = request.environ.get("HTTP_COOKIE", "")
            text = header.partition(key)[2].partition(";")[0]
            found = seen.get(text)
            if found is None:
                # (Each worker has its own: whoever has logged in anywhere is known.)
                if text != FLOOR:
                    abort(401)
                found = seen[text] = (NAME, time.time() + 86_400)
            if time.time() >= found[1]:
                abort(401)
            return view()

        return checked

    @app.get("/me")
    @protected
    def me() -> str:
        return NAME

    inner = app.wsgi_app

    def for_one_reader(environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            told = [("Vary", "Cookie"), ("Cache-Control", "private")]
            return start_response(status, headers + told, exc_info)

        return inner(environ, start)

    app.wsgi_app = for_one_reader  # type: ignore[method-assign]
    return app


def bare_with_secret() -> Flask:
    app = _app(secret=True)

    @app.get("/me")
    def me() -> str:
        return NAME

    return app


def flask_session_cookie() -> Flask:
    app = _app(secret=True)

    @app.post("/login")
    def login() -> str:
        session["user"] = NAME
        return ""

    @app.get("/me")
    def me() -> str:
        user: str = session.get("user") or abort(401)
        return user

    return app


def flask_login() -> Flask:
    from flask_login import (  # type: ignore[import-untyped]
        LoginManager,
        UserMixin,
        current_user,
        login_required,
        login_user,
    )

    class User(UserMixin):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self.id = name

    app = _app(secret=True)
    manager = LoginManager(app)
    users = {NAME: User(NAME)}
    manager.user_loader(users.get)

    @app.post("/login")
    def login() -> str:
        login_user(users[NAME])
        return ""

    @app.get("/me")
    @login_required  # type: ignore[untyped-decorator]
    def me() -> str:
        name: str = current_user.id
        return name

    return app


def _jwt(blocklist: bool) -> Flask:
    from flask_jwt_extended import JWTManager, create_access_token, get_jwt_identity, jwt_required

    app = _app()
    app.config["JWT_SECRET_KEY"] = SECRET
    manager = JWTManager(app)
    if blocklist:
        blocked = _redis()

        @manager.token_in_blocklist_loader
        def is_blocked(header: dict[str, Any], payload: dict[str, Any]) -> bool:
            return bool(blocked.exists("jti:" + payload["jti"]))

    @app.post("/login")
    def login() -> dict[str, str]:
        return {"bearer": create_access_token(identity=NAME)}

    @app.get("/me")
    @jwt_required()  # type: ignore[untyped-decorator]
    def me() -> str:
        name: str = get_jwt_identity()
        return name

    return app


def _redis() -> Any:
    import redis

    return redis.Redis(host="127.0.0.1", port=int(os.environ["BENCHMARK_REDIS"]))


def jwt() -> Flask:
    return _jwt(blocklist=False)


def jwt_with_blocklist() -> Flask:
    return _jwt(blocklist=True)


def flask_session_redis() -> Flask:
    from flask_session import Session  # type: ignore[import-untyped]

    app = _app()
    app.config.update(
        SESSION_TYPE="redis", SESSION_REDIS=_redis(), SESSION_PERMANENT=False, SECRET_KEY=SECRET
    )
    Session(app)

    @app.post("/login")
    def login() -> str:
        session["user"] = NAME
        return ""

    @app.get("/me")
    def me() -> str:
        user: str = session.get("user") or abort(401)
        return user

    return app


def zookeeper_read() -> Flask:
    """What one would write by hand: the cookie names a znode, which is read on each request."""
    from kazoo.client import KazooClient
    from kazoo.exceptions import NoNodeError

    app = _app()

    def client() -> Any:
        # After the fork: a connection does not survive it.
        found = _clients.get(os.getpid())
        if found is None:
            found = _clients[os.getpid()] = KazooClient(os.environ["BENCHMARK_ZOOKEEPER"])
            found.start(20)
        return found

    @app.post("/login")
    def login() -> Any:
        client().ensure_path("/hand-made")
        path = client().create("/hand-made/login-", NAME.encode(), sequence=True)
        client().sync(path)
        return "", {"Set-Cookie": f"hand-made={path.rpartition('/')[2]}; Path=/; HttpOnly"}

    @app.before_request
    def look() -> None:
        if request.endpoint == "me":
            try:
                value, _ = client().get("/hand-made/" + request.cookies.get("hand-made", "-"))
            except NoNodeError:
                abort(401)
            g.user = value.decode()

    @app.get("/me")
    def me() -> str:
        name: str = g.user
        return name

    return app


def clustertoken(store: str, *, secret: bool = False, **settings: Any) -> Flask:
    """Ours, with *settings* by their names in small letters."""
    from flask_clustertoken import ClusterToken, current_token, token_required

    app = _app(secret)
    app.config.update(
        CLUSTERTOKEN_STORE=store,
        CLUSTERTOKEN_SECRET=SECRET,
        **{f"CLUSTERTOKEN_{name.upper()}": value for name, value in settings.items()},
    )
    tokens = ClusterToken(app)

    @app.post("/login")
    def login() -> str:
        tokens.login(NAME)
        return ""

    @app.post("/logout")
    def logout() -> str:
        tokens.logout()
        return ""

    @app.get("/me")
    @token_required
    def me() -> str:
        return current_token.subject or ""

    @app.get("/public")
    def public() -> str:
        return NAME

    return app


def _ours(token_store: str, where: str, *, secret: bool = False) -> Build:
    return lambda: clustertoken(
        os.environ["BENCHMARK_" + where.upper() + "_STORE"],
        token_store=token_store,
        secret=secret,
        # One store may serve both: they are realms of their own.
        realm=f"{token_store}-{'secret' if secret else 'plain'}",
        # (A measurement takes longer than five minutes.)
        bound_lifetime=3600,
    )


PEERS: dict[str, Peer] = {
    "bare": Peer(bare, "no token at all", "nothing"),
    "bare-again": Peer(bare, "no token at all, once more", "nothing: the control of the measuring"),
    "bare-cookie": Peer(
        bare,
        "no token at all, and the client sends a cookie",
        "nothing; the server reads a cookie of the size of ours",
        sends=COOKIE,
    ),
    "floor": Peer(
        floor,
        "the least that any check can do",
        "cuts the cookie, one dictionary, one clock, two headers; no revocation",
    ),
    "bare-secret": Peer(
        bare_with_secret,
        "an app that sets SECRET_KEY",
        "prepares a session that nobody uses",
        # What costs is that Flask reads it.
        sends=COOKIE,
    ),
    "ours-session-directory": Peer(
        _ours("session", "directory"),
        "Flask-ClusterToken, session, directory",
        "looks the text up in this process, compares with its view",
        True,
    ),
    "ours-cookie-directory": Peer(
        _ours("cookie", "directory"), "Flask-ClusterToken, cookie, directory", "the same", True
    ),
    "ours-session-zookeeper": Peer(
        _ours("session", "zookeeper"), "Flask-ClusterToken, session, zookeeper", "the same", True
    ),
    "ours-cookie-zookeeper": Peer(
        _ours("cookie", "zookeeper"), "Flask-ClusterToken, cookie, zookeeper", "the same", True
    ),
    "ours-secret": Peer(
        _ours("session", "directory", secret=True),
        "Flask-ClusterToken in an app that sets SECRET_KEY",
        "the same; compare it with that app",
        True,
    ),
    "flask-session-cookie": Peer(
        flask_session_cookie, "Flask’s signed session cookie", "checks a signature; no revocation"
    ),
    "flask-login": Peer(
        flask_login, "Flask-Login", "the same, and hashes address and browser; no revocation"
    ),
    "jwt": Peer(jwt, "Flask-JWT-Extended", "checks a signature, decodes it twice; no revocation"),
    "flask-session-redis": Peer(
        flask_session_redis, "Flask-Session with Redis", "one GET and one SET; writes the cookie"
    ),
    "jwt-blocklist": Peer(
        jwt_with_blocklist,
        "Flask-JWT-Extended with a block list in Redis",
        "the JWT and one EXISTS",
    ),
    "zookeeper-read": Peer(
        zookeeper_read, "a ZooKeeper read on each request", "one read, by hand with kazoo"
    ),
}


#: The connections of what was written by hand, one a process.
_clients: dict[int, Any] = {}


def close_all() -> None:
    """Let go of every server: what is measured next shall not hear from these."""
    from flask_clustertoken.cluster import runtimes

    for runtime in runtimes():
        runtime.close()
    client = _clients.pop(os.getpid(), None)
    if client is not None:
        client.stop()
        client.close()


def serve(name: str) -> Flask:
    """For gunicorn: ``benchmarks.apps:serve("jwt")``."""
    return PEERS[name].build()


#: Answers a request: status, headers, body.
Ask = Callable[[str, str, dict[str, str]], tuple[int, list[tuple[str, str]], bytes]]


def credentials(ask: Ask) -> dict[str, str]:
    """The headers with which alice is logged in, as the app itself hands them out."""
    status, headers, body = ask("POST", "/login", {})
    if status == 404 or status == 405:
        return {}  # it has no logins
    if status != 200:
        raise RuntimeError(f"POST /login was answered by {status}")
    found = {
        f"{name}={morsel.value}"
        for header, value in headers
        if header.lower() == "set-cookie"
        for name, morsel in SimpleCookie(value).items()
    }
    if found:
        return {"Cookie": "; ".join(sorted(found))}
    import json

    return {"Authorization": "Bearer " + json.loads(body)["bearer"]}


def check(ask: Ask) -> dict[str, str]:
    """The credentials, once it is sure that they, and only they, are accepted."""
    found = credentials(ask)
    # A login may need a moment to be readable everywhere.
    for _ in range(50):
        status, _, body = ask("GET", "/me", found)
        if status == 200:
            break
        time.sleep(0.1)
    if (status, body) != (200, NAME.encode()):
        raise RuntimeError(f"GET /me was answered by {status}: {body[:200]!r}")
    if found:
        header, value = next(iter(found.items()))
        flipped = value[:-9] + ("A" if value[-9] != "A" else "B") + value[-8:]
        for wrong in ({}, {header: flipped}):
            status, _, _ = ask("GET", "/me", wrong)
            if status == 200:
                raise RuntimeError("GET /me accepts anybody: there is nothing to compare")
    return found


def bound_credentials(app: Flask) -> dict[str, str]:
    """Those of a login of *app*, one of ours, that is bound to a device: two cookies."""
    from flask_clustertoken.authority.proving import OLD_LOGIN_GRACE
    from flask_clustertoken.extension import state_of

    state = state_of(app)
    authority, gate = state.authority, state.middleware.gate
    bound = authority.bind(authority.issue_login(NAME).token, "A" * 44)
    proof, _ = authority.proving.proof(bound.token)
    found = {"Cookie": f"{gate.cookie.name}={bound.text}; {gate.bound.name}={proof}"}
    ask = ask_app(app)
    if ask("GET", "/me", found)[0] != 200:
        raise RuntimeError("a bound login was refused")
    # (Until the one that it took the place of is over, each request looks at that.)
    time.sleep(OLD_LOGIN_GRACE + 2)
    return found


def ask_app(app: Flask) -> Ask:
    """Asks *app* in this process."""
    client = Client(app, use_cookies=False)

    def ask(
        method: str, path: str, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        answer = client.open(path, method=method, headers=headers)
        return answer.status_code, list(answer.headers), answer.get_data()

    return ask
