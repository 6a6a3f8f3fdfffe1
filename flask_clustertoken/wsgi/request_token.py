"""Request token: one request's token, looked at once and on demand.

It lies under ``environ["clustertoken"]`` and is what an application asks, and what the
middleware asks in the end which cookie to send. It holds what the request knows so far; what
logging in and out does is :mod:`.login`'s, what an answer takes along :mod:`.response`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..audit import Actor, done_by, network_of
from ..authority import AGAIN, IssuedToken
from ..cluster import Revocation
from ..errors import RevokedMeanwhile
from ..tokens import MISSING, Refusal, Token
from . import login, response
from .actor import actor_of
from .caching import Headers, for_one_reader
from .credentials import judge_bearer, judge_cookies, unjudged
from .device import device_of
from .gate import Gate
from .origin import SAFE_METHODS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

#: The environ key of the request's token.
ENVIRON_KEY = "clustertoken"

#: Of a request that was judged by its cookie nothing more is asked: the text is known.
NOTHING: dict[str, Any] = {}


class RequestToken:
    """One request's token: looked at once, on demand."""

    __slots__ = (
        "_also",
        "_bound",
        "_due_at",
        "_environ",
        "_found",
        "_gate",
        "_gone",
        "_set_cookie",
        "_shared_cache",
        "_since",
        "_slide",
        "_strict",
        "_text",
        "demanded",
    )

    def __init__(self, gate: Gate, environ: dict[str, Any]) -> None:
        self._gate = gate
        #: What is asked of the request; an extract once the response's headers have left.
        self._environ = environ
        self._found: Token | Refusal | None = None
        #: The cookie's text that was accepted.
        self._text: str | None = None
        #: When it was, by the monotonic clock, where it was due to be renewed; else ``None``.
        self._due_at: float | None = None
        #: The feed's number that a login of this request carries. Whatever may log in by asking
        #: for a password is taken down as it comes, before anybody can have checked one.
        self._since: int | None = None
        if environ.get("REQUEST_METHOD") not in SAFE_METHODS:
            self._since = gate.authority.glimpse()
        self._slide = True
        self._strict = False
        self._shared_cache = False
        #: Whether the answer is only for whoever has a good token: then no shared cache keeps it,
        #: whatever the application says of caches. The Flask decorators set it.
        self.demanded = False
        self._set_cookie: str | None = None
        #: Headers that go with it: the offer to bind a login, the bound cookie.
        self._also: Headers | None = None
        #: Whether a login has to be bound to a device to count in this request.
        self._bound = False
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
        # (A bound login was proven when the request came; no cookie follows it into a stream.)
        return self._gate.authority.authenticate(
            self._text, "login", strict=self._strict, proofs=None, request=AGAIN
        )

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
        bound: bool = False,
    ) -> None:
        """This request's switches: *slide* renews the login, *strict* asks the store itself.

        *bound*: a login counts only if it is bound to a device, or so new that its browser may
        be about to bind it.

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
        if bound and not self._bound:
            self._bound = True
            if self._found:
                self._found = self._if_bound(self._found)

    def _look(self) -> Token | Refusal:
        environ, gate = self._environ, self._gate
        authority = gate.authority
        try:
            if "HTTP_AUTHORIZATION" in environ and gate.by_bearer(environ):
                text = environ["HTTP_AUTHORIZATION"][7:].strip()
                found = judge_bearer(gate, text, environ, self._strict)
            else:
                # (A second look, a strict one, is at the one that was accepted.)
                values = gate.cookie.values(environ) if self._text is None else [self._text]
                found, accepted = judge_cookies(gate, values, environ, self._strict)
                if isinstance(found, Token):
                    if self._text is None and authority.renewal_due(found):
                        self._due_at = authority.clock.monotonic()
                    self._text = accepted
            if self._since is None:
                # (Where a token was just judged, an embedded store's position was compared.)
                view = authority.runtime.view if self._text is not None else None
                self._since = authority.glimpse() if view is None else view.applied
        except Exception as error:
            return unjudged(authority, error)
        return self._if_bound(found) if self._bound else found

    def _if_bound(self, found: Token | Refusal) -> Token | Refusal:
        """*found*, where it is no unbound login of a cookie."""
        if not isinstance(found, Token) or self._text is None:
            return found
        authority = self._gate.authority
        refusal = authority.proving.unbound(found)
        if refusal is None:
            return found
        authority.refused(refusal)
        return refusal

    # making and ending logins

    def begin(self) -> int:
        """Before credentials are checked: a revocation from here on wins over the login."""
        self._since = self._gate.authority.begin()
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
        device: str | None = None,
    ) -> Token:
        """Issue a login token, set the cookie, end the login token that came with the request.

        *remember* ``False``: the cookie ends with the browser. *device* names what it is made on;
        left out, it is what the request's ``User-Agent`` says (:func:`.device_of`). Raises
        :class:`~flask_clustertoken.errors.NotMade`, :class:`~flask_clustertoken.errors.NotAllowed`
        (an API token makes no tokens; :class:`~flask_clustertoken.errors.ForeignOrigin` where a
        page of another origin sent the request),
        :class:`~flask_clustertoken.errors.ValueTooLarge` or
        :class:`~flask_clustertoken.errors.StoreError`; then nothing was handed out.
        :class:`RuntimeError` once the response has begun: the cookie would not arrive.
        """
        if isinstance(labels, str):
            raise TypeError('labels is a list of texts: labels=["provider:session"]')
        current = self._before_a_change()
        network = ""
        if self._gate.authority.settings.keep_address:
            network = network_of(self._environ.get("REMOTE_ADDR") or "")
        with self._done_by(current):
            login.end_unjudged(self._gate, current)
        with self._done_by(current), self.on_its_strength() as asker:
            issued = login.issue(
                self._gate,
                current,
                asker,
                subject,
                claims,
                since=since if since is not None else self._since,
                remember=remember,
                labels=labels,
                authenticated_at=authenticated_at,
                device=device_of(self._environ) if device is None else device,
                network=network,
            )
        self._send(issued)
        binder = self._gate.binder
        if binder is not None:
            # (With a login alone: offered later, whoever has a copy would bind his own key.)
            self._also = [binder.offer(self._environ, issued.token)]
        return issued.token

    def logout(self) -> Revocation | None:
        """Clear the cookie, then end the login in the store; ``None`` where nobody is logged in.

        Where the store is in trouble the cookie is cleared all the same, and the
        :class:`~flask_clustertoken.errors.StoreError` is raised. :class:`RuntimeError` once the
        response has begun.
        """
        current = self._before_a_change()
        self._clear(current)
        with self._done_by(current):
            return login.end(self._gate, current)

    def logout_everywhere(self, keep_current: bool = False) -> Revocation | None:
        """End every login of this subject; *keep_current* gives this browser a new token.

        ``None`` where nobody is logged in; :class:`~flask_clustertoken.errors.StoreUnavailable`
        where that cannot be known now, :class:`RuntimeError` once the response has begun.
        :class:`~flask_clustertoken.errors.NotAllowed` with a login that is bound to a device and
        came without its proof (``unproven``), or has to be bound and is not (``unbound``): that
        one is ended, unless it was to be kept, and no other.
        """
        current = self._before_a_change()
        if not keep_current:
            self._clear(current)
        elif isinstance(current, Token):
            with self._done_by(current), self.on_its_strength() as asker:
                revocation, issued = login.end_others(self._gate, current, asker)
            self._send(issued)
            return revocation
        else:
            login.check_others(current)
            return None
        with self._done_by(current):
            return login.end_everywhere(self._gate, current)

    def carry_on(self, end: Callable[[], Revocation]) -> Revocation:
        """Let *end* set a mark that covers this request's login too, which goes on as a new one.

        For whoever ends everybody's logins but his own, and says who acts. *end* is not undone
        where the new login cannot be made; then the errors of :meth:`login` are raised.
        """
        current = self._before_a_change()
        with self.on_its_strength() as asker:
            revocation = end()
            if isinstance(current, Token):
                self._send(login.carry_on(self._gate, current, asker, revocation))
        return revocation

    def actor(self) -> Actor:
        """Who sent the request, by what was found out of it until now."""
        return actor_of(self._found, self._environ)

    def _done_by(self, current: Token | Refusal) -> AbstractContextManager[None]:
        return done_by(lambda: actor_of(current, self._environ))

    def _before_a_change(self) -> Token | Refusal:
        if self._gone:
            # A login would be recorded that no browser has, and the one it replaces ended.
            raise RuntimeError(
                "too late to log in or out: the response's headers have left, and no cookie can "
                "follow them; do it before the response begins"
            )
        current = self.token
        login.check_allowed(self._gate, current, self._environ)
        return current

    def _send(self, issued: IssuedToken) -> None:
        self._found, self._text = issued.token, issued.text
        self._set_cookie = self._gate.cookie_for(issued)
        self._also = None
        if issued.token.bound_key:
            # The same device goes on with another token, which the old proof does not name.
            self._also = [("Set-Cookie", self._gate.bound_cookie_for(issued.token))]

    def _clear(self, current: Token | Refusal) -> None:
        self._set_cookie = self._gate.cookie.clearing_header()
        self._also = None
        if self._gate.bound.values(self._environ):
            self._also = [("Set-Cookie", self._gate.bound.clearing_header())]
        self._text = None
        if isinstance(current, Token):
            self._found = MISSING

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
        whole = self._environ
        # Keep only what a later look would ask of the request. The environ holds this object; as
        # long as this holds the environ, neither is freed before the garbage collector comes
        # round, and it would come round for them often.
        self._environ = NOTHING if text is not None else response.asked_of(whole)
        if found is not None:
            if self._set_cookie is None and (
                text is None or self._due_at is not None or not isinstance(found, Token)
            ):
                # Kept: start_response may be called again, with an error. (Most requests end
                # here: their login is not due yet.)
                self._set_cookie = response.cookie_to_set(
                    self._gate, found, text, self._slide, whole, self._due_at
                )
            # (What refuses somebody is for nobody else, whatever the view meant of its answer.)
            demanded = self.demanded and not (self._shared_cache and found)
            headers = for_one_reader(headers, self._set_cookie, demanded)
            if self._also is not None:
                headers = [*headers, *self._also]
        if exc_info is None:
            return start_response(status, headers)
        return start_response(status, headers, exc_info)
