"""Routes: the names and paths of the adapter's addresses."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask
from flask.typing import ResponseReturnValue

from ...extension import exempt

#: The blueprint's name: ``url_for("keycloak.login")``.
NAME = "keycloak"

#: The endpoints that Keycloak itself calls.
FOR_KEYCLOAK = ("k_logout", "k_push_not_before", "k_test_available", "backchannel_logout")

View = Callable[[], ResponseReturnValue]


def exempt_from_csrf(app: Flask) -> None:
    """Let Keycloak's messages pass Flask-WTF: they carry a signature instead of a cookie."""
    exempt(app, [f"{NAME}.{name}" for name in FOR_KEYCLOAK])
