"""Pages: what a person or a program is told where a login at Keycloak did not work."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import quote

from flask import request, url_for
from werkzeug.exceptions import BadRequest, Forbidden, ServiceUnavailable

from ...errors import Locked
from ...extension import RETRY_AFTER, AccessLocked, TokenRefused
from ...tokens import Refusal

_PAGE = """<!doctype html>
<html lang="en">
<title>{title}</title>
<meta name="viewport" content="width=device-width">
<h1>{title}</h1>
<p>{description}</p>
<p><a href="{again}">Try again</a> · <a href="{home}">Back to the start</a></p>
"""


_ONWARD = """<!doctype html>
<html lang="en">
<title>Logged in</title>
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="0; url={target}">
<p>You are logged in. <a href="{target}">Continue</a></p>
"""


_BY_BROWSER = """<!doctype html>
<html lang="en">
<head>
<title>Log in</title>
<meta name="viewport" content="width=device-width">
<meta name="turbo-visit-control" content="reload">
</head>
<body>
<p><a href="" target="_top" data-turbo="false">Log in</a></p>
</body>
</html>
"""


def home() -> str:
    """The app's first page, wherever it is mounted."""
    return request.script_root + "/"


def onward(target: str) -> str:
    """A page that goes on to *target* by itself, as a navigation that this site began."""
    # (A quote or a space would end the URL where a browser reads "url=".)
    return _ONWARD.format(target=escape(quote(target, safe="/?#[]@!$&()*+,;=:%~-._")))


def by_browser() -> str:
    """A page that makes Turbo ask for this address as a browser does, for a page of its own."""
    return _BY_BROWSER


class LoginFailed(TokenRefused):
    """The root of these answers: JSON or a page by ``Accept``, replaceable by an error handler."""

    error = "login_failed"
    title = "You could not be logged in"

    def get_response(self, environ: Any = None, scope: Any = None) -> Any:
        response = super().get_response(environ, scope)
        response.headers["Cache-Control"] = "no-store"
        return response

    def get_body(self, environ: Any = None, scope: Any = None) -> str:
        return _PAGE.format(
            title=escape(self.title),
            description=escape(self.description or ""),
            again=escape(url_for("keycloak.login")),
            home=escape(home()),
        )


class KeycloakSaysNo(LoginFailed, Forbidden):
    """403: Keycloak refused the login, or it is not one that we accept."""

    error = "login_refused"
    description = "Keycloak refused the login."


class LoginLocked(LoginFailed, Forbidden):
    """403: a lock refuses whom Keycloak has just vouched for. The lock's own message is shown."""

    error = AccessLocked.error
    description = AccessLocked.description

    def __init__(self, lock: Locked) -> None:
        super().__init__(
            Refusal("locked", message=lock.message, locked_until=lock.until), lock.message or None
        )


class NotOurLogin(LoginFailed, BadRequest):
    """400: the answer belongs to no login that this browser began."""

    error = "unknown_login"
    description = (
        "This login was not begun in this browser, or it took too long. Nothing is wrong with "
        "your account."
    )


class KeycloakDown(LoginFailed, ServiceUnavailable):
    """503: Keycloak does not answer."""

    error = "unavailable"
    title = "The login server does not answer"
    description = "Logging in is not possible at the moment. Please try again in a few seconds."

    def extra_headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(RETRY_AFTER))]


#: What OAuth errors of the login mean to a person; others are named by their code.
MEANINGS = {
    "access_denied": "Keycloak did not let you in: the login was cancelled, or your account may "
    "not use this application.",
    "login_required": "Keycloak wants you to log in again.",
    "interaction_required": "Keycloak needs something from you first.",
    "temporarily_unavailable": "Keycloak is busy. Please try again.",
    "stale": "This login was ended by an administrator. Please log in again.",
}
