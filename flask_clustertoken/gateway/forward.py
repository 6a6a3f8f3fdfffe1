"""Forward: ``/auth``, where a reverse proxy asks whether it may let a request pass."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from ..authority import TokenAuthority
from ..tokens import Refusal, Token
from ..wsgi import (
    CROSS_ORIGIN,
    ENVIRON_KEY,
    ClusterTokenMiddleware,
    RequestToken,
    was_not_asked,
    whence,
)
from .identity import NOBODY, Identities, TooLong
from .options import GatewayOptions
from .original import is_beneath, origin_of, page_of, put_original
from .peers import Peers
from .policy import ANY, Policy, WrongPolicy, read_policy
from .replies import RETRY_AFTER, Headers, Reply, challenge

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logging.getLogger("flask_clustertoken.gateway")

#: Where a location's demands are in the environ, and whether the proxy told what was asked for.
_POLICY, _TOLD = "clustertoken.gateway.policy", "clustertoken.gateway.told"

#: Nobody keeps an answer: it is this request's, by its method and its origin, too.
_OK: Headers = [("Content-Length", "0"), ("Cache-Control", "no-store")]


class ForwardAuth:
    """Judges the original request by its cookie or its bearer token, through the middleware."""

    def __init__(self, authority: TokenAuthority, options: GatewayOptions, peers: Peers) -> None:
        self._peers = peers
        self._trusted_origins = frozenset(authority.settings.trusted_origins)
        self._identities = Identities(options.claims_limit)
        self._middleware = ClusterTokenMiddleware(self._answer, authority)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            environ[_POLICY] = self._policy(environ)
        except WrongPolicy as error:
            logger.error("the proxy asks for what cannot be given: %s", error)
            return _refused(400, "invalid_request", str(error)).send(start_response, NOBODY)
        environ[_TOLD] = put_original(environ, self._peers)
        return self._middleware(environ, start_response)

    def _policy(self, environ: WSGIEnvironment) -> Policy:
        said = environ.get("QUERY_STRING", "")
        if is_beneath(environ):
            said = environ.get("HTTP_X_AUTH_POLICY", "")
            if said and not self._peers.trusts(environ):
                raise WrongPolicy("X-Auth-Policy came from nobody who is trusted")
        return read_policy(said) if said else ANY

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request_token: RequestToken = environ[ENVIRON_KEY]
        policy: Policy = environ[_POLICY]
        if not policy.slide:
            request_token.policy(slide=False)
        found = request_token.look()
        if isinstance(found, Token):
            refused = _not_enough(found, policy)
            if refused is None:
                try:
                    start_response("200 OK", self._identities.headers(found) + _OK)
                    return []
                except TooLong:
                    logger.error("the subject or the scopes of %s are no header's", found.id)
                    refused = _refused(403, "too_long", "The token is more than a header carries.")
        else:
            refused = self._refusal(environ, found, policy)
        return refused.send(start_response, NOBODY)

    def _refusal(self, environ: WSGIEnvironment, found: Refusal, policy: Policy) -> Reply:
        if found is CROSS_ORIGIN:
            said = "The request was sent by a page of another origin. "
            if not environ[_TOLD]:
                said += "(Its method is not known: the proxy does not tell, or is not trusted.) "
            return _refused(403, "cross_origin", said + whence(environ))
        if found.reason == "stale":
            return _later("The login cannot be checked at the moment. Please try again.")
        if found.reason == "locked":
            said = found.message or "Access is locked at the moment."
            return _refused(403, "locked", said)
        if was_not_asked(found, environ):
            return _later("The browser could not renew this login at the moment. Please try again.")
        if found.reason == "unbound":
            # (No login page: another login in this browser would end here once more.)
            return _unauthorized(found, "unbound", "This needs a login that is bound to a device.")
        way = self._way_to_login(environ, policy)
        if way is not None:
            # (303: a form's POST becomes a GET of the login page.)
            return Reply(302 if environ["REQUEST_METHOD"] == "GET" else 303, None, (way,))
        return _unauthorized(found, "unauthorized", "You need to be logged in.")

    def _way_to_login(self, environ: WSGIEnvironment, policy: Policy) -> tuple[str, str] | None:
        """``Location``, for a browser that shows what it gets as a page."""
        if not policy.login or not _shows_pages(environ):
            return None
        believed = self._peers.trusts(environ)
        login, here = policy.login, origin_of(environ, believed)
        target = urlsplit(login) if _is_plain(login) else None
        if target is None or not self._may_lead_to(target.scheme, target.netloc, login, here):
            tell_of_login(login)
            return None
        page = page_of(environ) if believed else ""
        if page.partition("?")[0] == target.path and target.path:
            return None  # it would lead in a circle
        if page and target.netloc:
            page = here + page if here else ""
        if page:
            login += f"{'&' if target.query else '?'}next={quote(page, safe='')}"
        return "Location", login

    def _may_lead_to(self, scheme: str, host: str, login: str, here: str) -> bool:
        """Whether it is this very origin, or one that the settings trust."""
        if not scheme and not host:
            return login.startswith("/")
        there = f"{scheme}://{host}".lower()
        return there == here or there in self._trusted_origins


def _not_enough(token: Token, policy: Policy) -> Reply | None:
    if token.kind not in policy.kinds:
        return _refused(
            403,
            "insufficient_scope",
            "A token of this kind will not do here.",
            challenge(error="insufficient_scope"),
        )
    if policy.scopes and token.kind == "api" and not policy.scopes <= set(token.scopes):
        return _refused(
            403,
            "insufficient_scope",
            "The token does not allow this.",
            challenge(error="insufficient_scope"),
        )
    return None


def _refused(status: int, error: str, message: str, *headers: tuple[str, str]) -> Reply:
    """As the Flask extension words it."""
    return Reply(status, {"error": error, "message": message}, headers)


def _unauthorized(found: Refusal, error: str, message: str) -> Reply:
    words = {} if found.reason == "missing" else {"error": "invalid_token"}
    answer = _refused(401, error, message, challenge(**words))
    answer.body["reason"] = found.reason
    return answer


def _later(message: str) -> Reply:
    return _refused(503, "unavailable", message, ("Retry-After", str(RETRY_AFTER)))


def _shows_pages(environ: dict[str, Any]) -> bool:
    mode = environ.get("HTTP_SEC_FETCH_MODE")
    if mode is not None:
        return bool(mode == "navigate")
    return "text/html" in environ.get("HTTP_ACCEPT", "")


def _is_plain(url: str) -> bool:
    """Whether a browser reads *url* as we do: it takes ``\\`` for ``/``, and drops controls."""
    if "\\" in url or any(not 33 <= ord(one) < 127 for one in url) or url.startswith("//"):
        return False
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=64)
def tell_of_login(login: str) -> None:
    """Once for each, of some at a time: whoever reaches us past the proxy may ask with many."""
    logger.error(
        "login=%s is neither a path nor of an origin in CLUSTERTOKEN_TRUSTED_ORIGINS: nobody is "
        "sent there, and the answer is 401",
        ascii(login[:200]),
    )
