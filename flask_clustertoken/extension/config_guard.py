"""Given: what an app's configuration said to ``init_app``, to notice what was changed since."""

from __future__ import annotations

from typing import Any

from flask import Flask

from ..errors import ConfigurationError
from ..settings import PREFIX


class Given:
    """The ``CLUSTERTOKEN_`` keys of *app* as they are now, whatever is done to its lists later."""

    __slots__ = ("values",)

    def __init__(self, app: Flask) -> None:
        self.values = {key: _apart(value) for key, value in _ours(app).items()}

    def check(self, app: Flask) -> None:
        """:class:`ConfigurationError` that names a key which *app* changed meanwhile."""
        now = _ours(app)
        for key in sorted({*self.values, *now}):
            if key not in self.values or key not in now or self.values[key] != now[key]:
                raise ConfigurationError(
                    key,
                    "it was changed after init_app, which nobody would have noticed.",
                    "Set it before init_app(app) is called.",
                )


def _ours(app: Flask) -> dict[str, Any]:
    return {key: value for key, value in app.config.items() if key.startswith(PREFIX)}


def _apart(value: Any) -> Any:
    """A copy of *value*, with its containers; not ``deepcopy``: an option may be a TLS context."""
    if isinstance(value, dict):
        return {key: _apart(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        kind = next(one for one in (list, tuple, set, frozenset) if isinstance(value, one))
        return kind(_apart(one) for one in value)
    return value
