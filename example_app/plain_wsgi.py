"""The same protection around an application without Flask.

::

    gunicorn --config example_app/gunicorn.conf.py example_app.plain_wsgi:application

With the same instance folder it shares its logins with the Flask example: log in there, and
you are known here.

=================  ================================================================
``GET /``          who you are, or a form to log in
``POST /login``    form ``username``, ``password``: 303 and the cookie
``POST /logout``   303
``GET /me``        ``{"subject", "token_id", "pid"}``, or 401 and 503 with ``{"reason"}``
=================  ================================================================
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from flask_clustertoken import ClusterTokenMiddleware, Settings, Token, TokenAuthority
from flask_clustertoken.errors import Locked, NotAllowed, NotMade, RevokedMeanwhile, StoreError
from flask_clustertoken.wsgi import RequestToken

from . import environment
from .accounts import check_password

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Bytes of a form.
LIMIT = 4096

Answer = tuple[str, list[tuple[str, str]], str]

FORM = """<form method="post" action="/login">
  <p><label>Name <input name="username" autocomplete="username"></label></p>
  <p><label>Password <input name="password" type="password"></label></p>
  <p><button>Log in</button> as alice, bob or admin; the password is the name</p>
</form>"""


def site(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The application itself. It finds the request token in ``environ["clustertoken"]``."""
    request_token: RequestToken = environ["clustertoken"]
    try:
        status, headers, body = answer(environ, request_token)
    except NotAllowed as error:
        status, headers, body = page("403 Forbidden", escape(str(error)))
    except Locked as lock:
        words = lock.message or "Access is locked at the moment."
        status, headers, body = page("403 Forbidden", escape(words))
    except RevokedMeanwhile:
        status, headers, body = page("401 Unauthorized", "The login was ended meanwhile.")
    except NotMade as error:
        status, headers, body = page("403 Forbidden", escape(str(error)))
    except StoreError:
        status, headers, body = page("503 Service Unavailable", "Please try again in a moment.")
    sent = body.encode()
    start_response(status, [*headers, ("Content-Length", str(len(sent)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [sent]


def answer(environ: WSGIEnvironment, request_token: RequestToken) -> Answer:
    asked = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
    if asked == ("GET", "/"):
        return front(request_token)
    if asked == ("GET", "/me"):
        return me(request_token)
    if asked == ("POST", "/login"):
        return login(environ, request_token)
    if asked == ("POST", "/logout"):
        request_token.logout()
        return see("/")
    return page("404 Not Found", "There is no such page.")


def front(request_token: RequestToken) -> Answer:
    found = request_token.token
    if isinstance(found, Token):
        button = '<form method="post" action="/logout"><button>Log out</button></form>'
        return page("200 OK", f"<p>You are {escape(found.subject)}.</p>{button}")
    if found.reason == "stale":
        return page("503 Service Unavailable", "Please try again in a moment.")
    return page("200 OK", FORM)


def me(request_token: RequestToken) -> Answer:
    found = request_token.token
    if isinstance(found, Token):
        said: dict[str, Any] = {"subject": found.subject, "token_id": found.id, "pid": os.getpid()}
        return "200 OK", [("Content-Type", "application/json")], json.dumps(said)
    status = "503 Service Unavailable" if found.reason == "stale" else "401 Unauthorized"
    return status, [("Content-Type", "application/json")], json.dumps({"reason": found.reason})


def login(environ: WSGIEnvironment, request_token: RequestToken) -> Answer:
    since = request_token.begin()
    try:
        size = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        size = -1
    if not 0 <= size <= LIMIT:
        return page("413 Content Too Large", "This is not a login.")
    fields = parse_qs(environ["wsgi.input"].read(size).decode("utf-8", "replace"))
    name, password = (fields.get(one, [""])[0] for one in ("username", "password"))
    account = check_password(name, password)
    if account is None:
        return page("401 Unauthorized", "<p>These do not belong together.</p>" + FORM)
    request_token.login(account.name, since=since)
    return see("/")


def page(status: str, body: str) -> Answer:
    return status, [("Content-Type", "text/html; charset=utf-8")], f"<!doctype html>{body}\n"


def see(path: str) -> Answer:
    return "303 See Other", [("Location", path)], ""


def create_application(**settings: Any) -> ClusterTokenMiddleware:
    """The site behind the middleware; *settings* are ``CLUSTERTOKEN_`` keys and win."""
    with environment.one_line_errors():
        given = {"CLUSTERTOKEN_COOKIE_SECURE": False, **environment.settings(), **settings}
        authority = TokenAuthority(
            Settings.from_mapping(given), instance_path=environment.instance_path()
        )
    return ClusterTokenMiddleware(site, authority)


def __getattr__(name: str) -> Any:
    # ``application`` is made when a server asks for it: an import makes no folder.
    if name != "application":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()["application"] = create_application()
    return made
