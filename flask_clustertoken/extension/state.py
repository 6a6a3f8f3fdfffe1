"""State: what belongs to one app; found in ``app.extensions["clustertoken"]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app, request

from ..authority import TokenAuthority
from ..handle import ENVIRON_KEY, Handle
from ..middleware import ClusterTokenMiddleware
from ..settings import Settings

if TYPE_CHECKING:
    from ..refusals import Refusal
    from ..tokens import Token
    from .clustertoken import ClusterToken

EXTENSION_KEY = "clustertoken"

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


def current_handle() -> Handle | None:
    """The request's handle; ``None`` outside a request, or if it did not come through ours."""
    try:
        return handle_in(request.environ)
    except RuntimeError:
        # (To ask first whether there is a request would look through a proxy twice.)
        return None


def handle_in(environ: Mapping[str, Any]) -> Handle | None:
    """The handle in *environ*, if it is ours."""
    handle = environ.get(ENVIRON_KEY)
    return handle if isinstance(handle, Handle) else None


def own_handle() -> Handle:
    """The request's handle, made now where a test built the request by hand."""
    handle = current_handle()
    if handle is None:
        handle = current_state().middleware.handle(request.environ)
        request.environ[ENVIRON_KEY] = handle
    return handle
