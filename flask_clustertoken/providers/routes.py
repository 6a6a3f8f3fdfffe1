"""Routes: the addresses of one provider in an app."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask
from flask.typing import ResponseReturnValue

from ..errors import ConfigurationError
from ..extension import OPEN, exempt

View = Callable[[], ResponseReturnValue]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")


def checked_name(name: Any) -> str:
    """*name*, which stands in addresses. Raises :class:`ConfigurationError`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            "name", f"{name!r} is no name of a provider.", "Write it as 'oidc' or 'partner-login'."
        )
    return name


class Addresses:
    """The addresses below ``/<name>`` of one provider; programs call them, or nobody's hand."""

    def __init__(self, name: str, url_prefix: str | None) -> None:
        self.name = checked_name(name)
        prefix = f"/{name}" if url_prefix is None else url_prefix
        if not isinstance(prefix, str):
            raise ConfigurationError("url_prefix", f"{prefix!r} is no path.", "Write '/oidc'.")
        prefix = prefix.rstrip("/")
        if not prefix.startswith("/") or prefix.startswith("//"):
            raise ConfigurationError("url_prefix", f"{prefix!r} is no path.", "Write '/oidc'.")
        self._blueprint = Blueprint(name.replace("-", "_"), __name__, url_prefix=prefix)
        self._endpoints: list[str] = []

    def add(self, path: str, what: str, view: View, *methods: str) -> None:
        """*view* answers *path*; it refuses nobody, whatever stands before the app."""

        def answer() -> ResponseReturnValue:
            return view()

        # (Of a name of its own: Flask-WTF exempts views by their name.)
        answer.__name__ = f"{self._blueprint.name}_{what}"
        setattr(answer, OPEN, True)
        self._blueprint.add_url_rule(path, what, answer, methods=methods, strict_slashes=True)
        self._endpoints.append(f"{self._blueprint.name}.{what}")

    def register(self, app: Flask) -> None:
        """Add them to *app*. Raises :class:`ConfigurationError` where the name is taken."""
        if self._blueprint.name in app.blueprints:
            raise ConfigurationError(
                "name",
                f"the app has something else called {self.name!r} already.",
                "Give each provider a name of its own: name='partner'.",
            )
        app.register_blueprint(self._blueprint)
        exempt(app, self._endpoints)
        complete = [False]

        def exempt_later() -> None:
            # With the first request: the protection may have been added after us.
            if not complete[0]:
                exempt(app, self._endpoints)
                complete[0] = True

        app.before_request(exempt_later)
