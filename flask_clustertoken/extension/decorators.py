"""Protected views: decorators, and a function for hooks and typed code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, NoReturn, TypeVar, cast, overload

from flask import current_app, make_response, request
from werkzeug.exceptions import HTTPException

from ..tokens import Refusal, Token, TokenKind
from ..wsgi import CROSS_ORIGIN, ENVIRON_KEY, RequestToken, was_not_asked, whence
from .globals import current
from .requirements import NEEDED, check_kind, checked_scopes
from .responses import (
    AccessLocked,
    CrossOrigin,
    DeviceNotAsked,
    LoginNotBound,
    LoginNotFresh,
    NodeNotFresh,
    NotEnough,
    TokenMissing,
)
from .state import current_environ, current_state, request_token_in, this_request
from .ways import way_to

View = TypeVar("View", bound=Callable[..., Any])

#: An attribute of a view function: true where nothing in here refuses anybody.
OPEN = "clustertoken_open"

#: An attribute of what demands a token: itself. (A wrapper that copies it may let some pass.)
DEMANDS = "clustertoken_demands"


def require_token(
    kind: TokenKind | None = None,
    scopes: Sequence[str] = (),
    *,
    slide: bool = True,
    strict: bool = False,
    shared_cache: bool = False,
    bound: bool = False,
) -> Token:
    """The request's token; raises the HTTP exception that refuses where there is none.

    For typed code, and inside a function of ``before_request``; never registered there itself,
    since Flask takes what such a function returns for the response. *scopes* limit API tokens;
    a login token passes a scope check unless *kind* is ``"api"``. *slide* ``False``: this request
    does not keep the login alive. *strict*: ask the store itself. *shared_cache*: what this view
    says to caches of all (``public``, ``s-maxage``) is meant, and kept; else it is ``private``.
    *bound*: a login has to be bound to a device (API tokens are not concerned); one of a few
    seconds ago may still be about to be.

    A view that makes logins or has another judge (an adapter's: see :data:`OPEN`) is never refused,
    so that a hook may stand before a whole app; what is returned there may be falsy.
    """
    if kind is not None:
        check_kind(kind)
    if scopes != ():
        scopes = checked_scopes(scopes)
    try:
        demand = _demanding(kind, scopes, slide, strict, shared_cache, bound)
        return demand(current_environ())
    except HTTPException:
        if stands_open():
            return cast(Token, current())
        raise


def stands_open() -> bool:
    """Whether the request's view lets everybody pass. (Asked only of who would be refused.)"""
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, OPEN, False) is True


def _demanding(
    kind: TokenKind | None,
    scopes: Sequence[str],
    slide: bool,
    strict: bool,
    shared_cache: bool,
    bound: bool,
) -> Callable[[Mapping[str, Any]], Token]:
    """Gives the token of the request with that environ, or raises what refuses.

    (A closure and not ``partial``, which costs a protected view as much as a call of Python's:
    a third of a microsecond.)
    """

    switched = strict or shared_cache or bound or not slide

    def demand(environ: Mapping[str, Any]) -> Token:
        request_token = environ.get(ENVIRON_KEY)
        if isinstance(request_token, RequestToken):
            request_token.demanded = True
            if switched:
                request_token.policy(
                    slide=None if slide else False,
                    strict=strict,
                    shared_cache=shared_cache or None,
                    bound=bound,
                )
            found = request_token.look()
        else:
            found = current()
        if isinstance(found, Refusal):
            refuse(found)
        if kind is not None and found.kind != kind:
            raise NotEnough(description=f"This needs {NEEDED[kind]}.")
        if scopes and found.kind == "api" and not set(scopes) <= set(found.scopes):
            raise NotEnough(tuple(scopes))
        return found

    return demand


def refuse(refusal: Refusal, error: type[TokenMissing] = TokenMissing) -> NoReturn:
    """Raise what answers *refusal*: 503, 403, the app's own handler, a redirect, or 401."""
    if refusal.reason == "stale":
        raise NodeNotFresh(refusal) from refusal.cause
    if refusal.reason == "locked":
        raise AccessLocked(refusal)
    if refusal is CROSS_ORIGIN:
        raise CrossOrigin(refusal, whence(current_environ()))
    if was_not_asked(refusal, current_environ()):
        raise DeviceNotAsked(refusal)
    state = current_state()
    handler = state.callbacks.handle_unauthorized or state.handle_unauthorized
    if handler is not None:
        answer = current_app.ensure_sync(handler)(refusal)
        raise HTTPException(response=make_response(answer))
    if refusal.reason == "unbound":
        # (No login page: another login in this browser would end here once more.)
        raise LoginNotBound(refusal)
    refused = error(refusal)
    view = state.settings.login_view
    way = way_to(view, refused) if view else None
    raise refused if way is None else HTTPException(response=way)


@overload
def token_required(view: View) -> View: ...
@overload
def token_required(
    *,
    kind: TokenKind | None = None,
    scopes: Sequence[str] = (),
    slide: bool = True,
    strict: bool = False,
    shared_cache: bool = False,
    bound: bool = False,
) -> Callable[[View], View]: ...
def token_required(
    view: View | None = None,
    *,
    kind: TokenKind | None = None,
    scopes: Sequence[str] = (),
    slide: bool = True,
    strict: bool = False,
    shared_cache: bool = False,
    bound: bool = False,
) -> View | Callable[[View], View]:
    """Protect a view; below ``@app.route``, bare or called. See :func:`require_token`.

    Also for async views and in ``MethodView.decorators``. ``OPTIONS`` passes: a browser's
    preflight request carries no credentials. Over a function of ``before_request`` it protects
    whatever comes behind that.
    """
    check_kind(kind)
    demand = _demanding(kind, checked_scopes(scopes), slide, strict, shared_cache, bound)
    protect = _before(demand)
    return protect(view) if view is not None else protect


def token_policy(
    *,
    slide: bool = True,
    strict: bool = False,
    shared_cache: bool = False,
    bound: bool = False,
) -> Callable[[View], View]:
    """The same switches for views that need no token. ``slide=False``: for polling.

    ``shared_cache=True``: also for a view that a hook before it protects. ``bound=True``: a login
    counts there only if it is bound to a device.
    """

    def switch(environ: Mapping[str, Any]) -> None:
        request_token = request_token_in(environ)
        if request_token is not None:
            request_token.policy(
                slide=None if slide else False,
                strict=strict,
                shared_cache=shared_cache or None,
                bound=bound,
            )

    return _before(switch, demands=False)


def fresh_login_required(max_age: float | timedelta) -> Callable[[View], View]:
    """Protect a view that needs credentials checked at most *max_age* (seconds) ago.

    By ``authenticated_at``, never by issue or renewal. An API token is never fresh.
    """
    seconds = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError("max_age is missing or no duration: @fresh_login_required(max_age=300)")
    if not seconds >= 0:
        raise ValueError(f"max_age is {seconds} s: no login could ever be fresh")

    demand = _demanding(None, (), slide=True, strict=False, shared_cache=False, bound=False)

    def check(environ: Mapping[str, Any]) -> None:
        token = demand(environ)
        if token.kind != "login":
            raise NotEnough(description=f"This needs {NEEDED['login']}.")
        age = current_state().authority.clock.time() - token.authenticated_at
        if age > seconds:
            refuse(Refusal("expired", "the login is not fresh"), LoginNotFresh)

    return _before(check)


def _before(
    check: Callable[[Mapping[str, Any]], object], *, demands: bool = True
) -> Callable[[View], View]:
    def marked(found: Callable[..., Any]) -> Callable[..., Any]:
        if demands:
            setattr(found, DEMANDS, found)
        return found

    def decorate(view: View) -> View:
        if not callable(view):
            raise TypeError(
                f"{view!r} is no view; arguments have names: "
                '@token_required(kind="api", scopes=["read"])'
            )

        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            environ = this_request().environ
            if environ["REQUEST_METHOD"] != "OPTIONS":
                try:
                    check(environ)
                except HTTPException:
                    if not stands_open():
                        raise
            return view(*args, **kwargs)

        if iscoroutinefunction(view):

            @wraps(view)
            async def checked_async(*args: Any, **kwargs: Any) -> Any:
                return await checked(*args, **kwargs)

            # So that what stands above may await it, as it would the view.
            return cast(View, marked(checked_async))
        return cast(View, marked(checked))

    return decorate
