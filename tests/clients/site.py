"""A site with the same links and forms for each kind of client, and what they load from npm."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

from flask import Flask, redirect, request, send_from_directory
from werkzeug.serving import make_server

from flask_clustertoken import ClusterToken, safe_target, token_required
from tests.servers import npm

HERE = Path(__file__).resolve().parent
#: What npm has fetched stays until the versions change.
MODULES = npm.BUILD / "npm"

SCRIPTS = {
    "plain": "",
    "htmx2": "htmx2/dist/htmx.min.js",
    "htmx4": "htmx4/dist/htmx.min.js",
    "turbo": "@hotwired/turbo/dist/turbo.es2017-umd.js",
}

_PAGE = """<!doctype html>
<html lang="en">
<head><title>{client}</title>{script}</head>
<body hx-boost="true" hx-boost:inherited="true">
<h1>The page of {client}</h1>
<a id="link" href="/secret">link</a>
<a id="forbidden" href="/robots">forbidden link</a>
<form id="form" action="/save" method="post"><button>form</button></form>
<button id="part" hx-get="/part" hx-target="#target">part</button>
<button id="part-forbidden" hx-get="/robots" hx-target="#target">forbidden part</button>
<div id="target">untouched</div>
<turbo-frame id="news">
<a id="frame" href="/part">frame</a>
<a id="frame-forbidden" href="/robots">forbidden frame</a>
<form id="frame-form" action="/save" method="post"><button>form in a frame</button></form>
</turbo-frame>
</body></html>
"""

#: As docs/flask says: what a frame leads to opens as a whole page.
_SIGN_IN = """<!doctype html>
<html lang="en">
<head><title>Sign in</title><meta name="turbo-visit-control" content="reload"></head>
<body><h1>Sign in</h1>
<form action="/sign-in" method="post">
<input type="hidden" name="next" value="{target}"><button id="sign-in">sign in</button>
</form></body></html>
"""


def fetch() -> None:
    """Let npm fetch the versions of ``package-lock.json``, unless they are there already."""
    npm.fetch(HERE, MODULES.name)


@contextmanager
def serving(app: Flask, port: int) -> Iterator[None]:
    """*app*, answering at *port* of this machine."""
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def add_site(app: Flask, tokens: ClusterToken) -> None:
    """The pages, the protected views that they lead to, and a login without a password."""

    @app.get("/page/<client>")
    def page(client: str) -> str:
        script = SCRIPTS[client]
        tag = f'<script src="/modules/{script}" defer></script>' if script else ""
        return _PAGE.format(client=client, script=tag)

    @app.get("/modules/<path:name>")
    def modules(name: str) -> Any:
        return send_from_directory(MODULES / "node_modules", name)

    @app.get("/sign-in")
    def sign_in() -> str:
        target = safe_target(request.args.get("next"), "/page/plain")
        return _SIGN_IN.format(target=escape(target))

    @app.post("/sign-in")
    def signed_in() -> Any:
        tokens.login("alice")
        return redirect(safe_target(request.form["next"]), 303)

    @app.get("/secret")
    @token_required
    def secret() -> str:
        return "<!doctype html><title>secret</title><h1>the secret</h1>"

    @app.get("/part")
    @token_required
    def part() -> str:
        return '<turbo-frame id="news">the part</turbo-frame>'

    @app.post("/save")
    @token_required
    def save() -> Any:
        return redirect("/secret", 303)

    @app.route("/robots", methods=["GET", "POST"])
    @token_required(kind="api")
    def robots() -> str:
        return "robots"
