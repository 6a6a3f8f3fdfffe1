"""The login view, looked at once the app is complete: can whoever is sent there log in?

What is wrong there would be a failure for each visitor, or a circle: so the first request of all
fails instead, with an error that names the setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask

from ..errors import ConfigurationError
from ..settings import PREFIX
from .decorators import DEMANDS, OPEN

_NAME = PREFIX + "LOGIN_VIEW"


def check_login_view(app: Flask, endpoint: str) -> None:
    """:class:`ConfigurationError` where *endpoint* is no view that a browser can be sent to.

    It exists, answers GET, needs no values that nobody gives, and no login.
    """
    if endpoint.startswith("."):
        return  # One of the blueprint of each request.
    if endpoint not in app.view_functions:
        raise ConfigurationError(
            _NAME,
            f"this app has no endpoint {endpoint!r}.",
            "Write the name of the view's function, behind its blueprint's name and a dot.",
        )
    _check_rules(app, endpoint)
    hooks = (hook for name in _scopes(endpoint) for hook in app.before_request_funcs.get(name, ()))
    if _demands(app.view_functions[endpoint]):
        raise ConfigurationError(
            _NAME,
            f"the view {endpoint!r} needs a login itself, so nobody could log in there.",
            "Take @token_required (or @fresh_login_required) off it.",
        )
    for hook in hooks:
        if getattr(hook, DEMANDS, None) is hook:
            if getattr(app.view_functions[endpoint], OPEN, False) is True:
                return
            raise ConfigurationError(
                _NAME,
                f"{hook.__name__}() of before_request needs a login for the view {endpoint!r} too, "
                "so nobody could log in there.",
                "Let it pass there: a function that is not decorated, and calls require_token() "
                "where request.endpoint is another one.",
            )


def _check_rules(app: Flask, endpoint: str) -> None:
    rules = [
        rule
        for rule in app.url_map.iter_rules(endpoint)
        if not rule.websocket and (rule.methods is None or "GET" in rule.methods)
    ]
    if not rules:
        raise ConfigurationError(
            _NAME,
            f"the view {endpoint!r} does not answer GET, and a browser is sent there by GET.",
            "Name the view that shows the form.",
        )
    if any(app.url_default_functions.get(name) for name in _scopes(endpoint)):
        return  # They know the request, and may give whatever is needed.
    needed = [sorted(rule.arguments - set(rule.defaults or {})) for rule in rules]
    if all(needed):
        raise ConfigurationError(
            _NAME,
            f"the address of {endpoint!r} needs values that nobody gives: {', '.join(needed[0])}.",
            "Give them in a function of @app.url_defaults, or name a view without.",
        )


def _scopes(endpoint: str) -> list[str | None]:
    """The app, and the blueprints around *endpoint*: whose hooks are called for it."""
    parts = endpoint.split(".")[:-1]
    return [None, *(".".join(parts[: n + 1]) for n in range(len(parts)))]


def _demands(view: Callable[..., Any]) -> bool:
    """Whether *view*, or what it is wrapped around, demands a token of a GET."""
    within = getattr(view, "view_class", None)
    also = (
        [getattr(within, name) for name in ("get", "dispatch_request") if hasattr(within, name)]
        if within is not None
        else []
    )
    return any(getattr(one, DEMANDS, None) is one for top in (view, *also) for one in _layers(top))


def _layers(view: Any) -> Iterator[Any]:
    while view is not None:
        yield view
        view = getattr(view, "__wrapped__", None)
