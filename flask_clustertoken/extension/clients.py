"""Clients: who sent a request, as far as that decides what a refusal answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from ..wsgi import SAFE_METHODS

Client = Literal["navigation", "follower", "frame", "boosted", "htmx", "script"]

#: How Turbo's ``Accept`` ends, and that of Turbolinks: older ones say of themselves nothing else.
_TURBO_ACCEPT = "text/html, application/xhtml+xml"


def client_of(environ: Mapping[str, Any]) -> Client:
    """Who sent this request.

    ``navigation``
        the browser itself, for a whole page; also a form that it sends.
    ``follower``
        a script that follows redirects itself and shows the page that it arrives at: Turbo Drive,
        and htmx 2 where it looks for a page of its history.
    ``frame``
        Turbo, for a part of a page.
    ``boosted``
        htmx, for a link or a form that it has taken over from the browser.
    ``htmx``
        htmx, for a part of a page.
    ``script``
        everything else.
    """
    if environ.get("HTTP_HX_HISTORY_RESTORE_REQUEST") == "true":
        # (htmx 4 names the type, and does as it is told. htmx 2 looks at no header of the answer
        # here, and shows nothing but a success.)
        return "htmx" if "HTTP_HX_REQUEST_TYPE" in environ else "follower"
    if environ.get("HTTP_HX_REQUEST") == "true":
        return "boosted" if environ.get("HTTP_HX_BOOSTED") == "true" else "htmx"
    if "HTTP_TURBO_FRAME" in environ:
        return "frame"
    if "HTTP_X_TURBO_REQUEST_ID" in environ:
        return "follower"
    mode = environ.get("HTTP_SEC_FETCH_MODE")
    if mode == "navigate":
        return "navigation"
    if environ.get("HTTP_ACCEPT", "").endswith(_TURBO_ACCEPT):
        return "follower"
    if mode is None and "HTTP_X_REQUESTED_WITH" not in environ and wants_html(environ):
        return "navigation"
    return "script"


def wants_html(environ: Mapping[str, Any]) -> bool:
    """Whether HTML is preferred; ``*/*`` and nothing at all mean JSON."""
    accept = parse_accept_header(environ.get("HTTP_ACCEPT", "*/*"), MIMEAccept)
    return accept.best_match(["application/json", "text/html"], "application/json") == "text/html"


def is_safe(environ: Mapping[str, Any]) -> bool:
    """Whether the request asks for something and does nothing, so that it may be sent again."""
    return environ.get("REQUEST_METHOD", "GET") in SAFE_METHODS
