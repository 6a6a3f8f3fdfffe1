"""Neighbours: what another extension beside us should not do unnoticed."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from flask import Flask


def warn_of_flask_login(app: Flask) -> None:
    """Warn once if ``flask_login.login_user`` is called in *app*.

    Beside us Flask-Login has its place with a ``request_loader``. A login that it makes itself
    is in Flask's session cookie, which no revocation reaches.
    """
    flask_login = sys.modules.get("flask_login")
    if flask_login is None or not hasattr(app, "login_manager"):
        return
    logged_in = flask_login.user_logged_in

    def warn(sender: Any, **extra: Any) -> None:
        logged_in.disconnect(warn, sender=app)
        warnings.warn(
            "flask_login.login_user() was called: this login is in Flask's session cookie, which "
            "no revocation reaches. Call tokens.login(subject) instead, and find the user with "
            "Flask-Login's request_loader from current_token.",
            stacklevel=4,
        )

    logged_in.connect(warn, sender=app, weak=False)
