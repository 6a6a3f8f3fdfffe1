"""Bodies: what a caller sent, as a form or as JSON, with an end to its size."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from .replies import Reply, problem

#: Bytes of a body beyond which nothing is read.
BODY_LIMIT = 64 * 1024

_NO_FORM = problem(
    400, "invalid_request", "Send application/x-www-form-urlencoded with one token in it."
)


def form_of(environ: dict[str, Any]) -> dict[str, str] | Reply:
    """The form that was sent, each name once."""
    if _kind(environ) != "application/x-www-form-urlencoded":
        return _NO_FORM
    body = _read(environ)
    if isinstance(body, Reply):
        return body
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=32)
    except ValueError:
        return _NO_FORM
    # (RFC 6749, 3.2: a parameter that comes twice is an error, one without a value is none.)
    return dict(pairs) if len(dict(pairs)) == len(pairs) else _NO_FORM


def json_of(environ: dict[str, Any]) -> dict[str, Any] | Reply:
    """The JSON object that was sent."""
    wrong = problem(400, "invalid_request", "Send application/json with an object in it.")
    if _kind(environ) != "application/json":
        return wrong
    body = _read(environ)
    if isinstance(body, Reply):
        return body
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return wrong
    return found if isinstance(found, dict) else wrong


def _kind(environ: dict[str, Any]) -> str:
    said: str = environ.get("CONTENT_TYPE") or ""
    return said.partition(";")[0].strip().lower()


def _read(environ: dict[str, Any]) -> bytes | Reply:
    too_large = problem(413, "invalid_request", f"At most {BODY_LIMIT} bytes are read.")
    said = environ.get("CONTENT_LENGTH") or ""
    if not said and environ.get("wsgi.input_terminated"):
        size = BODY_LIMIT + 1  # in chunks, which the server puts together
    elif said.isascii() and said.isdecimal():
        size = int(said) if len(said) < 10 else BODY_LIMIT + 1
        if size > BODY_LIMIT:
            return too_large
    else:
        return problem(411, "invalid_request", "A Content-Length is needed.")
    body: bytes = environ["wsgi.input"].read(size)
    return too_large if len(body) > BODY_LIMIT else body
