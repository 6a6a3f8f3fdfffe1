"""State: what belongs to one app; found in ``app.extensions["clustertoken"]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from flask import Flask, Request, current_app, request
from werkzeug.local import LocalProxy

from ..authority import TokenAuthority
from ..settings import Settings
from ..wsgi import ENVIRON_KEY, ClusterTokenMiddleware, Handle
from .config_guard import Given

if TYPE_CHECKING:
    from ..tokens import Refusal, Token
    from .clustertoken import ClusterToken

EXTENSION_KEY = "clustertoken"

#: The request itself. An attribute through Flask's proxy costs 0.8 µs, through what the proxy
#: stands for 0.1 (measured), and both views and templates look at the token often.
this_request: Callable[[], Request] = cast("LocalProxy[Request]", request)._get_current_object

UserLoader = Callable[["Token"], Any]
UnauthorizedHandler = Callable[["Refusal"], Any]

#: The token of ``acting_as``, for requests that did not come through ``wsgi_app``.
acting: ContextVar[Token | None] = ContextVar("clustertoken_acting", default=None)


@dataclass(slots=True)
class AppState:
    """The parts that ``init_app`` built for one app."""

    extension: ClusterToken
    settings: Settings
    authority: TokenAuthority
    middleware: ClusterTokenMiddleware
    #: ``given.check(app)`` is for whoever uses the settings: the first request, a command.
    given: Given
    #: What an adapter of this app answers where the app has no handler of its own.
    handle_unauthorized: UnauthorizedHandler | None = None


def state_of(app: Flask) -> AppState:
    """The state of *app*; :class:`RuntimeError` where ``init_app`` was not called."""
    state = app.extensions.get(EXTENSION_KEY)
    if not isinstance(state, AppState):
        raise RuntimeError(
            "ClusterToken was not initialised for this app; call tokens.init_app(app) first"
        )
    return state


def current_state() -> AppState:
    return state_of(current_app)


def current_environ() -> dict[str, Any]:
    """The environ of the request; :class:`RuntimeError` outside one."""
    return this_request().environ


def current_handle() -> Handle | None:
    """The request's handle; ``None`` outside a request, or if it did not come through ours."""
    try:
        return handle_in(current_environ())
    except RuntimeError:
        return None


def handle_in(environ: Mapping[str, Any]) -> Handle | None:
    """The handle in *environ*, if it is ours."""
    handle = environ.get(ENVIRON_KEY)
    return handle if isinstance(handle, Handle) else None


def own_handle() -> Handle:
    """The request's handle, made now where a test built the request by hand."""
    handle = current_handle()
    if handle is None:
        environ = current_environ()
        handle = environ[ENVIRON_KEY] = HandMade(current_state().middleware, environ)
    return handle


class HandMade(Handle):
    """The handle of a request that a test built by hand: ``acting_as`` says who makes it."""

    __slots__ = ("_actor",)

    def __init__(self, middleware: ClusterTokenMiddleware, environ: dict[str, Any]) -> None:
        super().__init__(middleware, environ)
        self._actor: Token | None = None

    def look(self) -> Token | Refusal:
        actor = acting.get()
        if actor is not self._actor:
            # Somebody else acts now, or nobody any more; a login that was made meanwhile stays.
            if actor is not None or self._found is self._actor:
                self._found = None
            self._actor = actor
        return super().look()

    def asker(self) -> Token | None:
        # (No store knows who acts, so nothing can have ended it.)
        found = super().asker()
        return None if found is self._actor else found

    def _look(self) -> Token | Refusal:
        actor = acting.get()
        return actor if actor is not None else super()._look()
