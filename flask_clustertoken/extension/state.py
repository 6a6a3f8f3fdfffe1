"""State: what belongs to one app; found in ``app.extensions["clustertoken"]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from flask import Flask, Request, current_app, request
from werkzeug.local import LocalProxy

from ..authority import TokenAuthority
from ..settings import Settings
from ..wsgi import ENVIRON_KEY, ClusterTokenMiddleware, RequestToken
from .config_guard import Given

if TYPE_CHECKING:
    from ..tokens import Refusal, Token

EXTENSION_KEY = "clustertoken"

#: The request itself. An attribute through Flask's proxy costs 0.8 µs, through what the proxy
#: stands for 0.1 (measured), and both views and templates look at the token often.
this_request: Callable[[], Request] = cast("LocalProxy[Request]", request)._get_current_object

UserLoader = Callable[["Token"], Any]
UnauthorizedHandler = Callable[["Refusal"], Any]


@dataclass(slots=True)
class Callbacks:
    """What an app's author gave the extension to call; the same for all apps of one extension.

    They may be given after ``init_app``, so an app's state holds this and neither of them.
    """

    #: Gives ``current_token.user`` for a token.
    load_user: UserLoader | None = None
    #: Answers a refusal, instead of a 401.
    handle_unauthorized: UnauthorizedHandler | None = None


@dataclass(slots=True)
class AppState:
    """The parts that ``init_app`` built for one app."""

    callbacks: Callbacks
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


def current_request_token() -> RequestToken | None:
    """The request's token; ``None`` outside a request, or if it did not come through ours."""
    try:
        return request_token_in(current_environ())
    except RuntimeError:
        return None


def request_token_in(environ: Mapping[str, Any]) -> RequestToken | None:
    """The request's token in *environ*, if it is ours."""
    request_token = environ.get(ENVIRON_KEY)
    return request_token if isinstance(request_token, RequestToken) else None


def own_request_token() -> RequestToken:
    """The request's token, made now where a test built the request by hand."""
    request_token = current_request_token()
    if request_token is None:
        # (Only tests need it.)
        from .acting import HandMade

        environ = current_environ()
        request_token = environ[ENVIRON_KEY] = HandMade(current_state().middleware.gate, environ)
    return request_token
