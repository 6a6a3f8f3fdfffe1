"""What a refusal answers: HTTP exceptions, as JSON or HTML by ``Accept``."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from flask import Flask, current_app, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import Forbidden, HTTPException, ServiceUnavailable, Unauthorized
from werkzeug.http import quote_header_value
from werkzeug.wrappers import Response

from ..errors import (
    ClusterTokenError,
    ConfigurationError,
    ForeignOrigin,
    KeyMissing,
    Locked,
    NotAllowed,
    NoThread,
    NotMade,
    RevokedMeanwhile,
    StoreError,
)
from ..tokens import Refusal
from ..wsgi import CROSS_ORIGIN, whence
from .clients import client_of, is_safe, wants_html
from .pages import refusal_page
from .redirects import own_page

logger = logging.getLogger("flask_clustertoken")

#: Seconds after which a client may ask a stale node again.
RETRY_AFTER = 2


def _challenge(**parameters: str) -> tuple[str, str]:
    """A bearer challenge. RFC 9110, 11.5: a realm is always written in quotes."""
    said = {"realm": "tokens", **parameters}
    quoted = (f"{name}={quote_header_value(said[name], allow_token=False)}" for name in said)
    return "WWW-Authenticate", f"Bearer {', '.join(quoted)}"


class TokenRefused(HTTPException):
    """The root of what the decorators raise; :attr:`reason` may be shown to anyone."""

    error = "refused"

    def __init__(self, refusal: Refusal | None = None, description: str | None = None) -> None:
        super().__init__(description or self.description)
        self.refusal = refusal
        self.reason = refusal.reason if refusal is not None else ""

    def extra_headers(self) -> list[tuple[str, str]]:
        return []

    def get_response(self, environ: Any = None, scope: Any = None) -> Any:
        if self.response is not None:
            return self.response
        if environ is not None and not isinstance(environ, dict):
            environ = environ.environ
        headers = Headers(self.extra_headers())
        # A refusal is for this very request: it is kept by no cache, and read as what it is.
        headers["Cache-Control"] = "no-store"
        headers["X-Content-Type-Options"] = "nosniff"
        if environ is not None:
            _tell_htmx(headers, environ)
        if environ is not None and wants_html(environ):
            body, mimetype = self.get_body(environ), "text/html"
        else:
            body, mimetype = json.dumps(self.to_json()) + "\n", "application/json"
        return Response(body, self.code, headers, mimetype=mimetype)

    def get_body(self, environ: Any = None, scope: Any = None) -> str:
        """The page for people."""
        environ = environ or {}
        said = dict(self.extra_headers()).get("Retry-After")
        return refusal_page(
            self.name,
            self.get_description(environ),
            environ,
            None if said is None else int(said),
            own_page(environ) or "",
        )

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"error": self.error, "message": self.description}
        if self.reason:
            body["reason"] = self.reason
        return body


def _tell_htmx(headers: Headers, environ: dict[str, Any]) -> None:
    """What asked stays as it is, and can be used again; a link opens as the browser opens it,
    which shows the refusal as a page (and htmx 2 would show nothing).
    """
    client = client_of(environ)
    if client not in ("htmx", "boosted"):
        return
    headers["HX-Reswap"] = "none"
    page = own_page(environ)
    if client == "boosted" and page is not None and is_safe(environ):
        headers["HX-Redirect"] = page


class TokenMissing(TokenRefused, Unauthorized):
    """401: nobody is logged in, or what was presented was not accepted."""

    error = "unauthorized"
    #: The error code of the challenge, where credentials were presented.
    challenge = "invalid_token"
    description = "You need to be logged in."

    def extra_headers(self) -> list[tuple[str, str]]:
        # RFC 6750: no error code where no credentials were presented, one for all refusals.
        if self.reason in ("", "missing"):
            return [_challenge()]
        return [_challenge(error=self.challenge)]


class LoginNotBound(TokenMissing):
    """401: the login is not bound to a device, and this view, or every one, needs one that is."""

    error = "unbound"
    description = (
        "This needs a login that is bound to your device, and yours is not. Please log in again; "
        "where that does not help, this browser or device cannot do it."
    )


class LoginNotFresh(TokenMissing):
    """401: the credentials were last checked too long ago for this view."""

    error = "fresh_login_required"
    challenge = "insufficient_user_authentication"  # RFC 9470
    description = "Please enter your password again."


class NotEnough(TokenRefused, Forbidden):
    """403: the token is good, and of the wrong kind or without the scope that is needed."""

    error = "insufficient_scope"
    description = "The token does not allow this."

    def __init__(self, scopes: tuple[str, ...] = (), description: str | None = None) -> None:
        super().__init__(None, description)
        self.scopes = scopes

    def extra_headers(self) -> list[tuple[str, str]]:
        scope = {"scope": " ".join(self.scopes)} if self.scopes else {}
        return [_challenge(error="insufficient_scope", **scope)]


class AccessLocked(TokenRefused, Forbidden):
    """403: a lock refuses whoever this is, until its end. The lock's own message is shown."""

    error = "locked"
    description = "Access is locked at the moment."

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal, refusal.message or None)


class CrossOrigin(TokenRefused, Forbidden):
    """403: an unsafe request with a cookie, sent by a page of another origin."""

    error = "cross_origin"
    description = (
        "The request was sent by a page of another origin. "
        "Its origin can be allowed with CLUSTERTOKEN_TRUSTED_ORIGINS."
    )

    def __init__(self, refusal: Refusal | None = None, whence: str = "") -> None:
        super().__init__(refusal, f"{self.description} {whence}".rstrip())


class NoPlaceLeft(TokenRefused, Forbidden):
    """403: the user has as many logins as ``TOKEN_LIMIT`` allows. No other token would help."""

    error = "token_limit"
    description = "This user is logged in as often as is allowed. Please log out elsewhere first."


class NodeNotFresh(TokenRefused, ServiceUnavailable):
    """503: this server cannot vouch for the token at the moment; the cookie is kept."""

    error = "unavailable"
    description = "The login cannot be checked at the moment. Please try again."

    def extra_headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(RETRY_AFTER))]


class DeviceNotAsked(NodeNotFresh):
    """503: a bound login without its proof, which the browser says that it could not renew now."""

    description = "Your browser could not renew this login at the moment. Please try again."


class StoreInTrouble(NodeNotFresh):
    """503: the cluster store could not do what was asked."""

    description = "The login server cannot be reached at the moment. Please try again."


def _not_made(error: Exception) -> TokenRefused:
    if isinstance(error, Locked):
        return AccessLocked(Refusal("locked", message=error.message, locked_until=error.until))
    if isinstance(error, RevokedMeanwhile):
        return TokenMissing(Refusal("revoked"), "The login was ended meanwhile. Please try again.")
    return NoPlaceLeft()


def _not_allowed(error: Exception) -> TokenRefused:
    if isinstance(error, ForeignOrigin):
        return CrossOrigin(CROSS_ORIGIN, whence(request.environ))
    said = str(error)
    return NotEnough(description=f"{said[:1].upper()}{said[1:]}." if said else None)


def _in_trouble(error: Exception) -> TokenRefused:
    # The client is told nothing of what went wrong, so this is the only place that says it.
    logger.warning("answered 503, the store could not do it: %s", _told(error))
    return StoreInTrouble()


def _misconfigured(error: Exception) -> TokenRefused:
    # Found out at the first use: the folder is no folder, or lies on a network file system.
    logger.error("answered 503, the store cannot be used as it is set: %s", _told(error))
    return StoreInTrouble()


def _cannot_sign(error: Exception) -> TokenRefused:
    logger.error("answered 503, this node cannot sign: %s", _told(error))
    return StoreInTrouble()


def _without_thread(error: Exception) -> TokenRefused:
    logger.error("answered 503: %s", _told(error))
    return StoreInTrouble()


def _told(error: BaseException) -> str:
    """The error and, behind it, the driver's own. A traceback a request would bury the rest."""
    said = f"{type(error).__name__}: {error}"
    return said if error.__cause__ is None else f"{said} (from {_told(error.__cause__)})"


#: What the library's own errors answer where an app does not handle them itself.
_ANSWERS: dict[type[ClusterTokenError], Callable[[Exception], TokenRefused]] = {
    StoreError: _in_trouble,
    ConfigurationError: _misconfigured,
    KeyMissing: _cannot_sign,
    NoThread: _without_thread,
    NotAllowed: _not_allowed,
    NotMade: _not_made,
}


def answer_errors(app: Flask) -> None:
    """Answer the library's errors as HTTP errors, where the app has no handler of its own.

    The answer goes through the app's and the blueprint's handlers of 401, 403 and 503, with
    the error as its cause.
    """
    theirs = app.error_handler_spec[None][None]

    def handler(answer: Callable[[Exception], TokenRefused]) -> Callable[[Exception], Any]:
        def answered(error: Exception) -> Any:
            # Flask takes the nearest class, which is ours. An app that handles the root, since
            # before init_app or after it, means them all.
            mine = theirs.get(ClusterTokenError)
            if mine is not None:
                return current_app.ensure_sync(mine)(error)
            refused = answer(error)
            refused.__cause__ = error
            return current_app.handle_http_exception(refused)

        return answered

    for error, answer in _ANSWERS.items():
        if error not in theirs:
            app.register_error_handler(error, handler(answer))
