"""ClusterToken: the extension object. It builds the parts and keeps no app."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from flask import Flask

from ..audit import Actor, AuditTrail
from ..authority import LOGINS, IssuedToken, StandingLock, TokenAuthority, Watch, WhileValid
from ..clock import Clock, SystemClock
from ..cluster import Readiness, Revocation
from ..errors import ConfigurationError, NotAllowed
from ..settings import Settings
from ..shared import SharedData, SharedFiles
from ..tokens import Refusal, Token, TokenKind, validation
from ..wsgi import ClusterTokenMiddleware
from . import signals
from .acting import acting, acting_token
from .config_guard import Given
from .decorators import require_token
from .flask_login import warn_of_flask_login
from .globals import CurrentToken, current, current_token
from .loginview import check_login_view
from .passage import watch_passage
from .requirements import checked_scopes, kind_of_test
from .responses import answer_errors
from .state import (
    EXTENSION_KEY,
    AppState,
    Callbacks,
    UnauthorizedHandler,
    UserLoader,
    current_request_token,
    current_state,
    own_request_token,
)
from .streams import watched

Chunk = TypeVar("Chunk")
Loader = TypeVar("Loader", bound=UserLoader)
Handler = TypeVar("Handler", bound=UnauthorizedHandler)


@dataclass(frozen=True, slots=True)
class TokenPages(Iterable[Token]):
    """Tokens, read in pages as they are asked for.

    Each pass reads them anew. *recorded* ``False``: logins are not recorded
    (``TOKEN_STORE="cookie"``), so only API tokens are among them.
    """

    _walk: Callable[[], Iterator[Token]]
    recorded: bool

    def __iter__(self) -> Iterator[Token]:
        return self._walk()


class ClusterToken:
    """Login tokens for Flask apps; ``ClusterToken(app)`` or ``init_app(app)``, for any number.

    *clock* is for tests. Raises :class:`~flask_clustertoken.errors.ConfigurationError` where a
    ``CLUSTERTOKEN_`` setting is unknown or wrong. Opens no store and starts no thread before the
    first look at a token.
    """

    def __init__(self, app: Flask | None = None, *, clock: Clock | None = None) -> None:
        self._clock = clock
        self._callbacks = Callbacks()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the app's settings and wrap its ``wsgi_app``."""
        if EXTENSION_KEY in app.extensions:
            raise ConfigurationError("init_app", "this app has a ClusterToken already.")
        given = Given(app)
        settings = Settings.from_mapping(given.values)
        authority = TokenAuthority(settings, instance_path=app.instance_path, clock=self._clock)
        middleware = ClusterTokenMiddleware(app.wsgi_app, authority)
        state = AppState(self._callbacks, settings, authority, middleware, given)
        middleware.audit.ask = _who_acts
        came_through = watch_passage(app, middleware)

        def before_first() -> None:
            _before_first(app, state)
            came_through()

        middleware.before_first = before_first
        app.wsgi_app = middleware  # type: ignore[method-assign]
        app.extensions[EXTENSION_KEY] = state
        app.jinja_env.globals["current_token"] = current_token
        answer_errors(app)
        signals.connect(app, authority)
        _add_commands(app)

    @property
    def audit(self) -> AuditTrail:
        """The current app's audit trail, for acts of its own: ``tokens.audit.note("exported")``."""
        return current_state().middleware.audit

    # making and ending logins

    def login_begins(self) -> int:
        """Before credentials are checked or a code is exchanged: pass it on as *since*.

        A revocation that falls between this and :meth:`login` wins: "log out everywhere" also
        ends the login that is just being made with the old password.
        """
        return own_request_token().begin()

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
        """Log *subject* in: issue a token, set the cookie, end the login that the request had.

        *remember* ``False``: the cookie ends with the browser. *labels* are the realm's to end
        (a provider's session id, with the provider's name in front). *authenticated_at*: when
        the password was checked, if not now; in seconds since 1970, or a datetime with its zone
        (:class:`ValueError` for one without). *device* names what it is made on, for lists; left
        out, it is what the ``User-Agent`` says, in words such as ``Firefox on Windows`` (with the
        extra ``console``; else it is ``""``, not known). Raises
        :class:`~flask_clustertoken.errors.RevokedMeanwhile`,
        :class:`~flask_clustertoken.errors.TokenLimitReached`,
        :class:`~flask_clustertoken.errors.ValueTooLarge`,
        :class:`~flask_clustertoken.errors.NotAllowed` with a bearer token, and
        :class:`~flask_clustertoken.errors.StoreError`, which is answered by 503.
        """
        return own_request_token().login(
            subject,
            claims,
            since=since,
            remember=remember,
            labels=labels,
            authenticated_at=authenticated_at,
            device=device,
        )

    def logout(self) -> Revocation | None:
        """Clear the cookie, then end this login everywhere; ``None`` where nobody is logged in.

        With the store in trouble the cookie is cleared all the same and the error is raised.
        """
        return own_request_token().logout()

    def logout_everywhere(self, keep_current: bool = False) -> Revocation | None:
        """End every login of the current subject.

        *keep_current* gives this browser a *new* token, issued after the mark. Raises
        :class:`~flask_clustertoken.errors.NotAllowed` with a bearer token, and with a login whose
        device is not proven: of that subject only this login is ended, and with *keep_current*
        none.
        """
        return own_request_token().logout_everywhere(keep_current)

    # revoking

    def revoke(self, token_id: str) -> Revocation:
        """End one token, login or API. :class:`ValueError` for what is no token id."""
        return current_state().authority.revoke_ids([token_id])

    def revoke_label(self, label: str) -> Revocation:
        """End every token with this label, also one that is issued later."""
        return current_state().authority.revoke_labels([label])

    def revoke_subject(self, subject: str, kinds: Sequence[TokenKind] = LOGINS) -> Revocation:
        """End every token of *subject* issued before now; API tokens only if *kinds* say so."""
        return current_state().authority.revoke_subject(subject, kinds)

    def revoke_all(self, kinds: Sequence[TokenKind] = LOGINS) -> Revocation:
        """End every token of the realm issued before now."""
        return current_state().authority.revoke_all(kinds)

    def not_before(self, when: float | datetime) -> Revocation:
        """End every login token issued before the time *when*; it only ever rises.

        Seconds since 1970, or a datetime with its zone: :class:`ValueError` for one without.
        """
        return current_state().authority.not_before(when)

    def lock(
        self,
        *,
        subject: str | None = None,
        label: str | None = None,
        kind: TokenKind | None = None,
        everyone: bool = False,
        until: float | datetime | None = None,
        message: str = "",
        except_labels: Sequence[str] = (),
    ) -> Revocation:
        """Refuse a subject, what has a label, a kind of token, or everyone: one of the four.

        Ends their logins and refuses new ones, renewals, API tokens and a provider's bearer
        tokens, with 403 and *message*, until *until* (seconds since 1970, or a datetime with its
        zone) or :meth:`unlock`. *except_labels*: whose login has one of them is spared. Raises
        :class:`~flask_clustertoken.errors.NodesTooOld` while nodes of a version that knows no
        locks are there, and :class:`~flask_clustertoken.errors.StoreError`.
        """
        return current_state().authority.locking.lock(
            subject=subject,
            label=label,
            kind=kind,
            everyone=everyone,
            until=until,
            message=message,
            except_labels=except_labels,
        )

    def unlock(
        self,
        *,
        subject: str | None = None,
        label: str | None = None,
        kind: TokenKind | None = None,
        everyone: bool = False,
    ) -> Revocation:
        """Take a lock away, named as it was set; logins that it has ended stay ended."""
        return current_state().authority.locking.unlock(
            subject=subject, label=label, kind=kind, everyone=everyone
        )

    def locks(self) -> list[StandingLock]:
        """The locks that are in force, the oldest first."""
        return current_state().authority.locking.locks()

    # listing and API tokens

    def tokens_of(self, subject: str) -> TokenPages:
        """The live tokens of *subject*; :class:`TypeError` or :class:`ValueError` for none."""
        authority = current_state().authority
        subject = validation.subject(subject)
        return TokenPages(lambda: authority.tokens_of(subject), authority.records_logins)

    def last_used(self, token_id: str) -> int | None:
        """When an API token was last used, to about an hour; ``None``: not known."""
        return current_state().authority.last_used(token_id)

    def issue_api_token(
        self,
        subject: str,
        name: str,
        scopes: Sequence[str] = (),
        lifetime: float | timedelta | None = None,
    ) -> IssuedToken:
        """A token for programs; its text is shown once. It never expires unless *lifetime* is set.

        Raises :class:`~flask_clustertoken.errors.NotAllowed` in a request that was itself made
        with an API token, and :class:`~flask_clustertoken.errors.RevokedMeanwhile` where the
        request's own login was ended since it was looked at.
        """
        scopes = checked_scopes(scopes)
        maker = current()
        if isinstance(maker, Token) and maker.kind == "api":
            raise NotAllowed("an API token cannot make tokens")
        seconds = lifetime.total_seconds() if isinstance(lifetime, timedelta) else lifetime
        request_token = current_request_token()
        with (
            nullcontext(None) if request_token is None else request_token.on_its_strength() as asker
        ):
            return current_state().authority.issue_api_token(
                subject,
                name,
                scopes,
                seconds,
                created_by=maker.subject if isinstance(maker, Token) else subject,
                on=asker,
            )

    # streams and sockets

    def watching(
        self, token: Token | CurrentToken, on_end: Callable[[Refusal], object] | None = None
    ) -> Watch:
        """A connection that ends with *token*: ``with tokens.watching(token, on_end=…) as watch``.

        For a WebSocket, or whatever else lasts. *on_end* is called once, with why the token is
        over, in a thread of its own and outside of any request; a slow one holds up nobody.
        ``watch.ended`` is ``None`` until then, and ``watch.wait(seconds)`` waits no longer than
        that. See :class:`~flask_clustertoken.authority.Watch`; docs/flask says when which token
        is over. :class:`TypeError` where nobody is logged in.
        """
        return current_state().authority.watching.watch(watched(token), on_end)

    def while_valid(
        self, chunks: Iterable[Chunk], last: Callable[[Refusal], Chunk] | None = None
    ) -> WhileValid[Chunk]:
        """*chunks* as long as this request's token is good; then what *last* makes of the refusal.

        For a response that streams; call it in the view, which is answered by 401 where nobody
        is logged in. :func:`~flask_clustertoken.extension.end_event` is a *last* for
        server-sent events.
        """
        return current_state().authority.watching.while_valid(require_token(), chunks, last)

    # the rest

    def shared(self, name: str) -> SharedData:
        """The deployment's shared data called *name*."""
        return current_state().authority.shared(name)

    def files(self, name: str) -> SharedFiles:
        """The deployment's shared files called *name*."""
        return current_state().authority.files(name)

    def readiness(self) -> Readiness:
        """Whether this process may vouch for tokens now; for ``/readyz``. Never raises."""
        return current_state().authority.readiness()

    def user_loader(self, load: Loader) -> Loader:
        """Decorator: gives ``current_token.user`` for a token. A coroutine function is awaited."""
        self._callbacks.load_user = load
        return load

    def unauthorized_handler(self, handler: Handler) -> Handler:
        """Decorator: answers instead of a 401; gets the refusal."""
        self._callbacks.handle_unauthorized = handler
        return handler

    @contextmanager
    def acting_as(
        self,
        subject: str,
        claims: Mapping[str, Any] | None = None,
        *,
        kind: TokenKind | None = None,
        scopes: Sequence[str] | None = None,
    ) -> Iterator[Token]:
        """For tests: *subject* has just logged in, within a ``test_request_context``.

        With *scopes*, or as *kind* ``"api"``, a program with an API token. A request that comes
        through the app, as a test client's does, is judged by what it carries: for those there is
        :class:`~flask_clustertoken.extension.testing.TokenClient`.
        """
        now = int((self._clock or SystemClock()).time())
        kind = kind_of_test(kind, scopes)
        token = acting_token(subject, claims or {}, kind, scopes or (), now)
        reset = acting.set(token)
        try:
            yield token
        finally:
            acting.reset(reset)


def _who_acts() -> Actor | None:
    """Who sent the current request, for the audit trail; ``None`` outside one."""
    request_token = current_request_token()
    return None if request_token is None else request_token.actor()


def _before_first(app: Flask, state: AppState) -> None:
    """With the first request, when the app is complete: is what it says still so?"""
    state.given.check(app)
    if state.settings.login_view:
        check_login_view(app, state.settings.login_view)
    hooks: list[Any] = [hook for some in app.before_request_funcs.values() for hook in some]
    if require_token in hooks:
        raise ConfigurationError(
            "before_request",
            "require_token is registered there itself: Flask takes its Token for the response.",
            "Register a function of your own, with @token_required between the two.",
        )
    warn_of_flask_login(app)


def _add_commands(app: Flask) -> None:
    from ..cli.group import tokens_group

    app.cli.add_command(tokens_group)
