"""How the example answers: pages for browsers, JSON for programs, and the same for errors."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask, Response, abort, jsonify, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from .node import this_node

#: Forms are sent here only, nobody frames a page, and there is no script at all.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def wants_page() -> bool:
    """Whether a person looks at the answer. Without ``Accept``, or with ``*/*``, it is JSON."""
    if request.path.startswith("/api/"):
        return False
    offered = ["application/json", "text/html"]
    return request.accept_mimetypes.best_match(offered, offered[0]) == "text/html"


def sent_json() -> dict[str, Any]:
    """The request's JSON object, or 400 for whatever else was sent."""
    try:
        sent = request.get_json()
    except RecursionError:  # of Python's JSON reader, with a hundred thousand brackets
        sent = None
    if not isinstance(sent, dict):
        abort(400, "Send a JSON object.")
    return sent


def done(page: str, **said: Any) -> ResponseReturnValue:
    """After a ``POST``: 303 to *page* for a form, what was done as JSON for a program."""
    if request.mimetype in FORMS or wants_page():
        return redirect(page, 303)
    return jsonify(said)


def answer_error(error: HTTPException) -> ResponseReturnValue:
    """A page or JSON for what went wrong; its status and its headers stay."""
    if error.code is None or error.code < 400 or error.response is not None:
        return error
    response = error.get_response()
    if wants_page():
        response.set_data(render_template("error.html", error=error))
        response.mimetype = "text/html"
    elif response.mimetype != "application/json":
        name = re.sub(r"\W+", "_", error.name.lower())
        body = jsonify(error=name, message=error.description)
        response.set_data(body.get_data())
        response.mimetype = "application/json"
    assert isinstance(response, BaseResponse)
    return response


def harden(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    # Not "no-referrer": with that, browsers send "Origin: null" even to the same origin.
    response.headers.setdefault("Referrer-Policy", "same-origin")
    # Also behind a refusal one can see which worker spoke.
    response.headers["X-Answered-By"] = "{name}/{pid}".format(**this_node())
    return response


def init_app(app: Flask) -> None:
    app.register_error_handler(HTTPException, answer_error)
    app.after_request(harden)
