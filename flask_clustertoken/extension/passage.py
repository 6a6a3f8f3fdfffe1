"""Passage: whether an app's requests come through our middleware at all.

``init_app`` wraps ``app.wsgi_app``. Whoever sets it again afterwards to what it was before, or
wraps *that*, takes the middleware out: a login would be made, recorded and answered by 200, and
its cookie never sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from flask import Flask

from ..errors import ConfigurationError
from ..wsgi import ENVIRON_KEY, ClusterTokenMiddleware
from .state import current_environ

#: Objects that are looked at: a chain of wrappers has a handful.
_ENOUGH = 1000


def watch_passage(app: Flask, middleware: ClusterTokenMiddleware) -> Callable[[], None]:
    """Until what this returns is called, look whether the app's requests came through.

    The first hook of all, and away with the first request that came through: it costs nothing.
    """

    def look() -> None:
        # A request that a test made by hand comes through nothing, and is none the worse for it.
        if ENVIRON_KEY in current_environ() or _leads_to(app.wsgi_app, middleware, app):
            return
        raise ConfigurationError(
            "app.wsgi_app",
            "it was replaced after init_app, so that requests no longer come through "
            "ClusterToken: it would neither read nor set a cookie.",
            "Wrap what is there, as in app.wsgi_app = ProxyFix(app.wsgi_app), or call "
            "init_app(app) afterwards.",
        )

    def leave() -> None:
        # A new list: another thread's request may be walking through the one that is there.
        hooks = app.before_request_funcs.get(None, [])
        app.before_request_funcs[None] = [hook for hook in hooks if hook is not look]

    app.before_request_funcs.setdefault(None, []).insert(0, look)
    return leave


def _leads_to(start: Any, wanted: Any, app: Flask) -> bool:
    """Whether *wanted* is among what *start* calls, as far as that can be seen.

    Not by way of the app: that holds everything.
    """
    todo, seen = [start], {id(app)}
    while todo and len(seen) < _ENOUGH:
        one = todo.pop(0)
        if one is wanted:
            return True
        if id(one) not in seen:
            seen.add(id(one))
            todo += _held(one)
    return False


def _held(one: Any) -> Iterator[Any]:
    """What *one* may call: its attributes, its closure, what it names of its module."""
    if isinstance(one, FunctionType):
        for cell in one.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:
                continue
        yield from one.__defaults__ or ()
        names = [name for name in one.__code__.co_names if name in one.__globals__]
        yield from (one.__globals__[name] for name in names)
    elif isinstance(one, MethodType):
        yield from (one.__self__, one.__func__)
    elif isinstance(one, partial):
        yield from (one.func, *one.args, *one.keywords.values())
    elif isinstance(one, dict):
        yield from one.values()
    elif isinstance(one, list | tuple):
        yield from one
    elif not isinstance(one, type):
        yield from vars(one).values() if hasattr(one, "__dict__") else ()
        call = getattr(type(one), "__call__", None)  # noqa: B004 - what it calls, not whether
        yield call if isinstance(call, FunctionType) else None
