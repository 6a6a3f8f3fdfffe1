"""Handle: one request's token, looked at once and on demand.

It lies under ``environ["clustertoken"]`` and is what an application asks, and what the
middleware asks in the end which cookie to send.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from ..authority import IssuedToken, TokenAuthority
from ..cluster import Revocation
from ..errors import ForeignOrigin, NotAllowed, RevokedMeanwhile, StoreUnavailable
from ..events import LoginEnding, TokenRefused
from ..tokens import MISSING, Refusal, Token
from .caching import Headers, for_one_reader
from .origin import ORIGIN_KEYS, SAFE_METHODS, is_cross_origin, whence

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

    from .middleware import ClusterTokenMiddleware

logger = logging.getLogger("flask_clustertoken")

#: The environ key of the handle.
ENVIRON_KEY = "clustertoken"

#: Judges a bearer text that is not ours; ``None``: not mine, ask the next one.
BearerVerifier = Callable[[str, "dict[str, Any]"], "Token | Refusal | None"]

#: What a look asks of the request.
ASKED = (
    "REQUEST_METHOD",
    "HTTP_COOKIE",
    "HTTP_AUTHORIZATION",
    *ORIGIN_KEYS,
)

#: Of a request that was judged by its cookie nothing more is asked: the text is known.
NOTHING: dict[str, Any] = {}

#: Why a cookie was not looked at.
CROSS_ORIGIN = Refusal("invalid", "an unsafe request from a page of another origin")


class Handle:
    """One request's token: looked at once, on demand."""

    __slots__ = (
        "_environ",
        "_found",
        "_gone",
        "_middleware",
        "_set_cookie",
        "_shared_cache",
        "_since",
        "_slide",
        "_strict",
        "_text",
        "demanded",
    )

    def __init__(self, middleware: ClusterTokenMiddleware, environ: dict[str, Any]) -> None:
        self._middleware = middleware
        #: What is asked of the request; an extract once the response's headers have left.
        self._environ = environ
        self._found: Token | Refusal | None = None
        #: The cookie's text that was accepted.
        self._text: str | None = None
        #: The feed's number that a login of this request carries. Whatever may log in by asking
        #: for a password is taken down as it comes, before anybody can have checked one.
        self._since: int | None = None
        if environ.get("REQUEST_METHOD") not in SAFE_METHODS:
            self._since = middleware.authority.glimpse()
        self._slide = True
        self._strict = False
        self._shared_cache = False
        #: Whether the answer is only for whoever has a good token: then no shared cache keeps it,
        #: whatever the application says of caches. The Flask decorators set it.
        self.demanded = False
        self._set_cookie: str | None = None
        #: Whether the response's headers have left.
        self._gone = False

    # looking

    @property
    def token(self) -> Token | Refusal:
        """The request's token, or why there is none. Never raises for a store."""
        return self.look()

    def look(self) -> Token | Refusal:
        """:attr:`token`; what a property costs more is a twentieth of a look."""
        found = self._found
        if found is None:
            found = self._found = self._look()
        return found

    def still(self, strict: bool = False) -> bool:
        """Whether the token that was accepted is good now: after a long body, in a stream.

        Asks the view; with *strict* the store. Where it is not, :attr:`token` says from here on
        why. Never raises for a store.
        """
        if not isinstance(self.look(), Token):
            return False
        before, self._strict = self._strict, strict or self._strict
        try:
            self._found = self._look_again()
        finally:
            self._strict = before
        return isinstance(self._found, Token)

    def _look_again(self) -> Token | Refusal:
        if self._text is None:
            return self._look()
        # (Of the request nothing may be left to ask: its answer has begun.)
        return self._middleware.authority.authenticate(self._text, "login", strict=self._strict)

    def asker(self) -> Token | None:
        """The token on whose strength this request asks for something, if it has one."""
        found = self.look()
        return found if isinstance(found, Token) else None

    @contextmanager
    def on_its_strength(self) -> Iterator[Token | None]:
        """The :meth:`asker` for whoever makes something out of it.

        If it turns out to be ended, the rest of the request goes by that.
        """
        try:
            yield self.asker()
        except RevokedMeanwhile:
            self.still(strict=True)
            raise

    @property
    def looked(self) -> bool:
        """Whether anybody has looked at the token yet."""
        return self._found is not None

    def policy(
        self,
        *,
        slide: bool | None = None,
        strict: bool | None = None,
        shared_cache: bool | None = None,
    ) -> None:
        """This request's switches: *slide* renews the login, *strict* asks the store itself.

        *shared_cache*: what the application says to shared caches is kept, although a token was
        :attr:`demanded`. They hand the answer out to others, and after a revocation.
        """
        if shared_cache is not None:
            self._shared_cache = shared_cache
        if slide is not None:
            self._slide = slide
        if strict and not self._strict:
            self._strict = True
            if self._found and self._set_cookie is None:
                # (A login that this very request made came from the store.)
                self._found = self._look()

    @property
    def _by_bearer(self) -> bool:
        """Whether a bearer token decides: one that is ours to judge, by how it begins."""
        authorization: str | None = self._environ.get("HTTP_AUTHORIZATION")
        if authorization is None or authorization[:7].lower() != "bearer ":
            return False
        ours = self._middleware.authority.settings.bearer_prefixes
        return not ours or authorization[7:].strip().startswith(ours)

    def _look(self) -> Token | Refusal:
        environ, authority = self._environ, self._middleware.authority
        try:
            if "HTTP_AUTHORIZATION" in environ and self._by_bearer:
                found = self._bearer(environ["HTTP_AUTHORIZATION"][7:].strip())
            else:
                found = self._cookie(environ, authority)
            if self._since is None:
                # (Where a token was just judged, an embedded store's position was compared.)
                view = authority.view if self._text is not None else None
                self._since = authority.glimpse() if view is None else view.applied
        except Exception as error:
            # Whatever failed in here, it authenticates nobody; that the token is bad is not
            # known either. The error's own text is left out: it may quote what it read.
            logger.error(
                "a token could not be judged: %s\n%s",
                type(error).__name__,
                "".join(traceback.format_tb(error.__traceback__)),
            )
            refusal = Refusal("stale", "an error while it was judged", cause=error)
            authority.events.announce(TokenRefused(refusal))
            return refusal
        return found

    def _is_cross_origin(self) -> bool:
        return is_cross_origin(self._environ, self._middleware.trusted_origins)

    def _bearer(self, text: str) -> Token | Refusal:
        authority = self._middleware.authority
        if authority.wire.looks_like_api(text):
            return authority.authenticate(text, "api", strict=self._strict)
        for verify in self._middleware.bearer_verifiers:
            found = verify(text, self._environ)
            if isinstance(found, Refusal):
                authority.refused(found)
            if found is not None:
                return found
        if self._middleware.cookie.values(self._environ):
            _tell_of_bearers()
        return authority.authenticate(text, "api", strict=self._strict)

    def _cookie(self, environ: dict[str, Any], authority: TokenAuthority) -> Token | Refusal:
        middleware = self._middleware
        # (A second look, a strict one, is at the one that was accepted.)
        values = middleware.cookie.values(environ) if self._text is None else [self._text]
        if not values:
            return MISSING
        if is_cross_origin(environ, middleware.trusted_origins):
            authority.refused(CROSS_ORIGIN)
            return CROSS_ORIGIN
        # Several under one name: a parent domain's, or an attack. One at most is honoured.
        refusal: Refusal | None = None
        for text in values:
            found = authority.authenticate(text, "login", strict=self._strict)
            if isinstance(found, Token):
                self._text = text
                return found
            if refusal is None or _telling(found) > _telling(refusal):
                refusal = found
        return MISSING if refusal is None else refusal

    # making and ending logins

    def begin(self) -> int:
        """Before credentials are checked: a revocation from here on wins over the login."""
        self._since = self._middleware.authority.begin()
        return self._since

    def login(
        self,
        subject: str,
        claims: Mapping[str, Any] | None = None,
        *,
        since: int | None = None,
        remember: bool | None = None,
        labels: Sequence[str] = (),
        authenticated_at: float | datetime | None = None,
    ) -> Token:
        """Issue a login token, set the cookie, end the login token that came with the request.

        *remember* ``False``: the cookie ends with the browser. Raises
        :class:`~flask_clustertoken.errors.NotMade`, :class:`~flask_clustertoken.errors.NotAllowed`
        (an API token makes no tokens; :class:`~flask_clustertoken.errors.ForeignOrigin` where a
        page of another origin sent the request),
        :class:`~flask_clustertoken.errors.ValueTooLarge` or
        :class:`~flask_clustertoken.errors.StoreError`; then nothing was handed out.
        :class:`RuntimeError` once the response has begun: the cookie would not arrive.
        """
        if isinstance(labels, str):
            raise TypeError('labels is a list of texts: labels=["provider:session"]')
        current = self.token
        self._refuse_others()
        if not current and current.reason == "stale" and current.token_id is not None:
            self._middleware.authority.revoke_ids([current.token_id])
        with self.on_its_strength() as asker:
            issued = self._middleware.authority.issue_login(
                subject,
                claims,
                since=since if since is not None else self._since,
                persistent=remember is not False,
                labels=labels,
                authenticated_at=authenticated_at,
                replaces=current if isinstance(current, Token) else None,
                on=asker,
                check=self._check_size,
            )
        self._send(issued)
        return issued.token

    def logout(self) -> Revocation | None:
        """Clear the cookie, then end the login in the store; ``None`` where nobody is logged in.

        Where the store is in trouble the cookie is cleared all the same, and the
        :class:`~flask_clustertoken.errors.StoreError` is raised. :class:`RuntimeError` once the
        response has begun.
        """
        current = self.token
        self._refuse_others()
        self._clear()
        if isinstance(current, Token):
            self._found = MISSING
            self._middleware.authority.events.announce(LoginEnding(current))
            return self._middleware.authority.end(current)
        if current.reason == "stale":
            if current.token_id is None:
                self._not_ended(current)
            return self._middleware.authority.revoke_ids([current.token_id])
        return None

    def logout_everywhere(self, keep_current: bool = False) -> Revocation | None:
        """End every login of this subject; *keep_current* gives this browser a new token.

        ``None`` where nobody is logged in; :class:`~flask_clustertoken.errors.StoreUnavailable`
        where that cannot be known now, :class:`RuntimeError` once the response has begun.
        """
        current = self.token
        self._refuse_others()
        if not isinstance(current, Token):
            if not keep_current:
                self._clear()
            if current.reason == "stale":
                self._not_ended(current)
            return None
        if not keep_current:
            self._clear()
            self._found = MISSING
            self._middleware.authority.events.announce(LoginEnding(current))
            return self._middleware.authority.revoke_subject(current.subject)
        return self._logout_others(current)

    def _logout_others(self, current: Token) -> Revocation:
        authority = self._middleware.authority
        with self.on_its_strength() as asker:
            revocation = authority.revoke_subject(current.subject, on=asker)
            # The mark covers who asked for it, like all others. It was there when the mark was
            # set, and counts here as one that was issued at the mark: by that one alone it is
            # not covered.
            issued = authority.issue_login(
                current.subject,
                current.claims,
                since=revocation.seq,
                persistent=current.persistent,
                labels=current.labels,
                authenticated_at=current.authenticated_at,
                carries_on=current,
                on=None if asker is None else replace(asker, since=revocation.seq),
                check=self._check_size,
            )
        self._send(issued)
        return revocation

    def _refuse_others(self) -> None:
        if self._gone:
            # A login would be recorded that no browser has, and the one it replaces ended.
            raise RuntimeError(
                "too late to log in or out: the response's headers have left, and no cookie can "
                "follow them; do it before the response begins"
            )
        current = self.token
        if self._by_bearer or (isinstance(current, Token) and current.kind == "api"):
            if not current:
                _tell_of_bearers()
            raise NotAllowed("a bearer token neither makes nor ends logins")
        # Also without a cookie. SameSite holds it back, and the answer would all the same put
        # the account of whoever wrote that page into this browser, or throw its user out.
        if self._is_cross_origin():
            raise ForeignOrigin(
                "the request came from a page of another origin; TRUSTED_ORIGINS can allow it. "
                + whence(self._environ)
            )

    def _not_ended(self, current: Refusal) -> NoReturn:
        """Whoever logs out must not be told that it worked where nothing was ended."""
        raise StoreUnavailable(
            "this login cannot be checked at the moment, so it was not ended"
        ) from current.cause

    def _check_size(self, issued: IssuedToken) -> None:
        self._middleware.cookie.header(issued.text, None)

    def _send(self, issued: IssuedToken) -> None:
        self._found, self._text = issued.token, issued.text
        self._set_cookie = self._header(issued)

    def _clear(self) -> None:
        self._set_cookie = self._middleware.cookie.clearing_header()
        self._text = None

    def _header(self, issued: IssuedToken) -> str:
        token = issued.token
        max_age = None
        if token.persistent and token.expires_at is not None:
            max_age = max(0, token.expires_at - int(self._middleware.authority.clock.time()))
        return self._middleware.cookie.header(issued.text, max_age)

    # answering

    def start(
        self,
        start_response: StartResponse,
        status: str,
        headers: Headers,
        exc_info: Any = None,
        /,
    ) -> Callable[[bytes], object]:
        """Begin the answer: *headers*, with what the look at the token demands of them."""
        found, text = self._found, self._text
        self._gone = True
        # Keep only what a later look would ask of the request. The environ holds this handle; as
        # long as the handle holds the environ, neither is freed before the garbage collector
        # comes round, and it would come round for them often.
        self._environ = NOTHING if text is not None else _asked(self._environ)
        if found is not None:
            # (What refuses somebody is for nobody else, whatever the view meant of its answer.)
            demanded = self.demanded and not (self._shared_cache and found)
            headers = for_one_reader(headers, self._cookie_to_set(found, text), demanded)
        if exc_info is None:
            return start_response(status, headers)
        return start_response(status, headers, exc_info)

    def _cookie_to_set(self, found: Token | Refusal, text: str | None) -> str | None:
        set_cookie = self._set_cookie
        if set_cookie is None:
            if isinstance(found, Token):
                if text is not None and self._slide:
                    authority = self._middleware.authority
                    if authority.renewal_due(found):
                        # Kept: start_response may be called again, with an error.
                        set_cookie = self._set_cookie = self._renewed(authority, found, text)
            elif found.garbled and self._all_seen():
                set_cookie = self._middleware.cookie.clearing_header()
        return set_cookie

    def _all_seen(self) -> bool:
        """Whether the cookie was judged in full: a good value may lie behind a flood of others,
        and clearing would take it, too.
        """
        return not self._by_bearer and not self._middleware.cookie.flooded(self._environ)

    def _renewed(self, authority: TokenAuthority, token: Token, text: str) -> str | None:
        try:
            issued = authority.renew(text, token)
            # (Too big for a cookie now, perhaps: another key's name may be longer.)
            return self._header(issued) if issued is not None else None
        except Exception:
            # The answer is ready and good; the next request tries again.
            logger.warning("a login could not be renewed", exc_info=True)
            return None


@cache
def _tell_of_bearers() -> None:
    """Once a process: whoever sends such requests should not fill the log."""
    logger.warning(
        "a bearer token that is not ours decided over a login's cookie, or stood in the way of a "
        "login: if a proxy adds it, say in CLUSTERTOKEN_BEARER_PREFIXES how yours begin"
    )


def _asked(environ: dict[str, Any]) -> dict[str, Any]:
    return {key: environ[key] for key in ASKED if key in environ}


def _telling(refusal: Refusal) -> int:
    """Of several refused cookies, which one decides: what may still be good, then what was."""
    if refusal.reason == "stale":
        return 3
    return 2 if refusal.reason in ("expired", "revoked", "locked") else int(not refusal.garbled)
