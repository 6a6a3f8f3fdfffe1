"""Endpoints: the two addresses that a browser asks by itself, and the offer that leads there.

Both are answered before the app: a browser asks them in the middle of a page's request, also with
cookies that are over, and a login page would be taken for the answer. They ask nothing of where a
request came from (``Sec-Fetch-Site``): what counts is a signature over a challenge that no other
site has seen.

What a status says to a browser (draft, "Send request"): 403 with a challenge, sign this; any other
4xx, the session is over, ask no more; 5xx, wait and try again. So whatever *may* be good on
another node, or in a moment, is 503.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..authority import IssuedToken, TokenAuthority
from ..errors import (
    AlreadyBound,
    ClusterTokenError,
    NotMade,
    ValueTooLarge,
)
from ..tokens import Refusal, Token
from ..wsgi import Gate
from . import instructions
from .challenges import Challenges
from .proof import NotProven, check_driver, read, thumbprint, verify

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

logger = logging.getLogger("flask_clustertoken")

#: Seconds after which a browser may ask a stale node again.
RETRY_AFTER = 2

#: Refusals that may be over in a moment: the browser shall keep its session.
_PASSING = ("stale", "locked")

Headers = list[tuple[str, str]]
Answer = Callable[["dict[str, Any]", "StartResponse"], Iterable[bytes]]


class _Answered(Exception):
    """What is answered instead of a cookie."""

    def __init__(self, status: str, message: str, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or []


class DeviceBinding:
    """Registers keys and renews bound cookies, for the logins of one *authority*.

    Raises :class:`~flask_clustertoken.errors.MissingDriver` without the extra ``binding``.
    """

    def __init__(self, authority: TokenAuthority) -> None:
        check_driver()
        self._authority = authority
        self._prefix = authority.settings.binding_prefix
        self._challenges = Challenges(authority)
        self._steps = {
            f"{self._prefix}/register": self._register,
            f"{self._prefix}/refresh": self._refresh,
        }

    def offer(self, environ: dict[str, Any], token: Token) -> tuple[str, str]:
        """The header by which a browser is asked to bind the new login *token*."""
        path = instructions.address(environ, self._prefix, "register")
        return instructions.registration(path, self._challenges.to_register(token))

    def answer(self, environ: dict[str, Any], gate: Gate) -> Answer | None:
        """What answers the request, where it is for one of the two addresses; else ``None``."""
        step = self._steps.get(environ.get("PATH_INFO", ""))
        if step is None:
            return None

        def answered(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            try:
                if environ.get("REQUEST_METHOD") != "POST":
                    raise _Answered("405 Method Not Allowed", "POST only", [("Allow", "POST")])
                status, (headers, body) = "200 OK", step(environ, gate)
            except _Answered as refused:
                status, headers = refused.status, refused.headers
                body = _error(status, str(refused))
            except Exception:
                logger.exception("a browser's proof could not be judged")
                status, headers = "503 Service Unavailable", _retry()
                body = _error(status, "The proof cannot be checked at the moment.")
            start_response(
                status,
                [
                    ("Content-Type", "application/json"),
                    ("Content-Length", str(len(body))),
                    ("Cache-Control", "no-store"),
                    ("X-Content-Type-Options", "nosniff"),
                    *headers,
                ],
            )
            # (A body behind the headers of HEAD is taken for the connection's next answer.)
            return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

        return answered

    # -- registration ------------------------------------------------------------------

    def _register(self, environ: dict[str, Any], gate: Gate) -> tuple[Headers, bytes]:
        """Bind the login that the challenge names to the key that the proof brings."""
        try:
            claim = read(instructions.said(environ, "Secure-Session-Response"))
            if not claim.key:
                raise NotProven("the proof brings no key")
            verify(claim, claim.key)
        except NotProven as error:
            raise _Answered("400 Bad Request", str(error)) from error
        named = self._challenges.names(claim.challenge)
        login = self._login(environ, gate, lambda token: token.id == named)
        if login.id != named:
            raise _Answered("400 Bad Request", "The challenge is over, or another login's.")
        issued = self._bound(login, claim.key, gate)
        headers = [
            ("Set-Cookie", gate.cookie_for(issued)),
            ("Set-Cookie", gate.bound_cookie_for(issued.token)),
        ]
        return headers, self._session(environ, issued.token, gate)

    def _bound(self, login: Token, key: str, gate: Gate) -> IssuedToken:
        try:
            return self._authority.bind(login, key, lambda issued: _check_size(gate, issued))
        except AlreadyBound as error:
            raise _Answered("409 Conflict", "This login is bound already.") from error
        except ValueTooLarge as error:
            logger.warning("a login stays unbound: %s", error)
            raise _Answered("400 Bad Request", "The bound cookie would be too large.") from error
        except NotMade as error:
            raise _Answered("401 Unauthorized", "The login was ended meanwhile.") from error
        except ClusterTokenError as error:
            logger.warning("a login could not be bound: %s", error)
            raise _unavailable() from error

    # -- proofs ------------------------------------------------------------------------

    def _refresh(self, environ: dict[str, Any], gate: Gate) -> tuple[Headers, bytes]:
        """A new bound cookie, for a signature by the key of the login. Writes nothing."""
        asked = instructions.said(environ, "Sec-Secure-Session-Id")
        if not asked:
            raise _Answered("400 Bad Request", "Sec-Secure-Session-Id names no session.")
        login = self._login(environ, gate, lambda token: _names(asked, token))
        if not _names(asked, login):
            raise _Answered("400 Bad Request", "The login is bound to another key, or to none.")
        text = instructions.said(environ, "Secure-Session-Response")
        if not text:
            raise self._challenged(login, asked, "Sign this.")
        try:
            claim = read(text)
            verify(claim, login.bound_key)
        except NotProven as error:
            raise _Answered("400 Bad Request", str(error)) from error
        if not self._challenges.refreshes(claim.challenge, login):
            raise self._challenged(login, asked, "The challenge is over, or another login's.")
        headers = [("Set-Cookie", gate.bound_cookie_for(login))]
        return headers, self._session(environ, login, gate)

    def _challenged(self, login: Token, session: str, why: str) -> _Answered:
        challenge = self._challenges.to_refresh(login)
        return _Answered("403 Forbidden", why, [instructions.challenge_header(challenge, session)])

    # -- both --------------------------------------------------------------------------

    def _login(self, environ: dict[str, Any], gate: Gate, wanted: Callable[[Token], bool]) -> Token:
        """The login that the request carries; of several the one that is *wanted*."""
        found: Token | Refusal | None = None
        for text in gate.cookie.values(environ):
            judged = self._authority.authenticate(text, "login", proofs=None)
            if isinstance(judged, Token) and wanted(judged):
                return judged
            if found is None or (isinstance(judged, Refusal) and judged.reason in _PASSING):
                found = judged
        if isinstance(found, Token):
            return found
        if found is not None and found.reason in _PASSING:
            raise _unavailable()
        raise _Answered("401 Unauthorized", "Nobody is logged in.")

    def _session(self, environ: dict[str, Any], token: Token, gate: Gate) -> bytes:
        refresh = instructions.address(environ, self._prefix, "refresh")
        return instructions.session(thumbprint(token.bound_key), refresh, gate.bound)


def _names(session: str, token: Token) -> bool:
    return bool(token.bound_key) and thumbprint(token.bound_key) == session


def _check_size(gate: Gate, issued: IssuedToken) -> None:
    gate.cookie.header(issued.text, None)


def _unavailable() -> _Answered:
    message = "The login cannot be checked at the moment."
    return _Answered("503 Service Unavailable", message, _retry())


def _retry() -> Headers:
    return [("Retry-After", str(RETRY_AFTER))]


def _error(status: str, message: str) -> bytes:
    return json.dumps({"error": status.partition(" ")[2], "message": message}).encode() + b"\n"
