"""An app whose views last: server-sent events, a queue, and a WebSocket."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from flask_sock import Sock
from simple_websocket import ConnectionClosed

from flask_clustertoken import ClusterToken, current_token, token_required
from flask_clustertoken.extension import CLOSE_CODE, end_event

FOLDER = Path(os.environ["INSTANCE"])

app = Flask(__name__, instance_path=str(FOLDER))
app.config.update(
    CLUSTERTOKEN_STORE=f"directory://{FOLDER}/shared",
    CLUSTERTOKEN_SECRET="S" * 40,
    CLUSTERTOKEN_COOKIE_SECURE=False,
)
for name in ("STORE", "SECRET", "LIFETIME", "RENEW_AFTER", "MAX_STALENESS"):
    if (given := os.environ.get(f"CLUSTERTOKEN_{name}")) is not None:
        app.config[f"CLUSTERTOKEN_{name}"] = int(given) if given.isdecimal() else given
tokens = ClusterToken(app)
sock = Sock(app)


@app.get("/healthz")
def healthz() -> str:
    return "ok"


@app.get("/readyz")
def readyz() -> tuple[str, int]:
    return "", 200 if tokens.readiness().fresh else 503


@app.post("/login")
def login() -> str:
    return tokens.login(request.args["as"], since=tokens.login_begins()).id


@app.post("/end/<subject>")
def end(subject: str) -> str:
    return "in force" if tokens.revoke_subject(subject).confirm() else "asked for"


@app.get("/me")
@token_required
def me() -> str:
    return str(current_token.subject)


@app.get("/ticks")
@token_required(slide=False)
def ticks() -> Response:
    """A piece now and then, so that the end is passed on soon."""
    opened = tokens.watching(current_token)

    def pieces() -> Iterator[str]:
        with opened as watch:
            yield f"data: {os.getpid()}\n\n"
            while not watch.wait(15):
                yield ": nothing new\n\n"

    return Response(tokens.while_valid(pieces(), end_event), mimetype="text/event-stream")


@app.get("/queue")
@token_required(slide=False)
def from_queue() -> Response:
    """Nothing comes by itself: whoever ends it puts the end into the queue."""
    inbox: queue.Queue[Any] = queue.Queue()
    watch = tokens.watching(current_token, on_end=inbox.put)

    def pieces() -> Iterator[str]:
        with watch:
            yield f"data: {os.getpid()}\n\n"
            yield end_event(inbox.get())

    return Response(pieces(), mimetype="text/event-stream")


@sock.route("/echo")
def echo(ws: Any) -> None:
    with tokens.watching(
        current_token, on_end=lambda why: ws.close(CLOSE_CODE, why.reason)
    ) as watch:
        try:
            while watch.ended is None:
                ws.send(ws.receive())
        except ConnectionClosed:
            pass
