"""An app whose views last: server-sent events, a queue, a WebSocket, Socket.IO; and a page."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from flask_sock import Sock
from flask_socketio import SocketIO
from gevent import monkey
from simple_websocket import ConnectionClosed

from flask_clustertoken import ClusterToken, current_token, token_required
from flask_clustertoken.authority.watch import Watch
from flask_clustertoken.extension import CLOSE_CODE, end_event
from flask_clustertoken.tokens import Refusal

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

socketio = SocketIO(app, async_mode="gevent" if monkey.is_module_patched("socket") else "threading")
tokens = ClusterToken(app)  # behind SocketIO(app): its requests, too, come through us
sock = Sock(app)


@app.get("/healthz")
def healthz() -> str:
    return "ok"


@app.get("/readyz")
def readyz() -> tuple[str, int]:
    return "", 200 if tokens.readiness().fresh else 503


@app.route("/login", methods=["GET", "POST"])
def login() -> str:
    return tokens.login(request.args["as"], since=tokens.login_begins()).id


@app.post("/end/<subject>")
def end(subject: str) -> str:
    return "in force" if tokens.revoke_subject(subject).confirm(timeout=60) else "asked for"


@app.post("/lock/<subject>")
def lock(subject: str) -> str:
    made = tokens.lock(subject=subject, message=f"{subject} may not come back.")
    return "in force" if made.confirm(timeout=60) else "asked for"


@app.get("/open")
def count_open() -> dict[str, int]:
    """How many connections this worker knows of, and the memory that it takes (KiB)."""
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = (one for one in status if one.startswith("VmRSS"))
    watching = app.extensions["clustertoken"].authority.watching
    return {"pid": os.getpid(), "open": len(watching), "memory": int(line.split()[1])}


@app.get("/me")
@token_required
def me() -> str:
    return str(current_token.subject)


@app.get("/ticks")
@token_required(slide=False)
def ticks() -> Response:
    """A piece now and then (after *every* so many seconds), so that the end is passed on soon."""
    opened = tokens.watching(current_token)
    every = float(request.args.get("every", 15))

    def pieces() -> Iterator[str]:
        with opened as watch:
            yield f"data: {os.getpid()}\n\n"
            while not watch.wait(every):
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


# -- Socket.IO -------------------------------------------------------------------------

watches: dict[str, Watch] = {}


def session() -> str:
    return str(request.sid)  # type: ignore[attr-defined]


@socketio.on("connect")
def connect() -> bool:
    if not current_token:
        return False
    sid = session()

    def end(why: Refusal) -> None:
        socketio.emit("end", why.reason, to=sid)
        socketio.server.disconnect(sid)

    watches[sid] = tokens.watching(current_token, on_end=end).open()
    return True


@socketio.on("disconnect")
def disconnect(*_: object) -> None:
    if (watch := watches.pop(session(), None)) is not None:
        watch.close()


@socketio.on("say")
def say(message: str) -> str:
    return f"{current_token.subject}: {message}"


# -- for a browser ---------------------------------------------------------------------


@app.get("/page")
@token_required
def page() -> str:
    return """<!doctype html>
<html lang="en"><head><title>What is new</title></head>
<body><ul id="said"></ul>
<script>
const say = (text) => {
  const line = document.createElement("li");
  line.textContent = text;
  document.getElementById("said").append(line);
};
const news = new EventSource("/ticks");
news.addEventListener("message", () => say("the stream is open"), {once: true});
news.addEventListener("end", (event) => {
  news.close();
  say(`the stream ended: ${event.data}`);
});
const stubborn = new EventSource("/ticks");
stubborn.addEventListener("message", () => say("the other stream is open"), {once: true});
stubborn.addEventListener("error", () => {
  if (stubborn.readyState === EventSource.CLOSED) say("the other stream was not let in again");
});
const socket = new WebSocket(`ws://${location.host}/echo`);
socket.addEventListener("open", () => socket.send("the socket is open"));
socket.addEventListener("message", (event) => say(event.data));
socket.addEventListener("close", (event) => say(`the socket: ${event.code} ${event.reason}`));
</script></body></html>"""
