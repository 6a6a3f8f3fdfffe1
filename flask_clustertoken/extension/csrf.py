"""CSRF: addresses that programs call, which carry a signature instead of a cookie."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask


def exempt(app: Flask, endpoints: Iterable[str]) -> None:
    """Let requests for *endpoints* pass Flask-WTF's protection, if the app has it.

    Flask-WTF knows a view by its function's module and name, so each needs one of its own. Where
    the protection may be added to the app later, this has to be called once more.
    """
    csrf = app.extensions.get("csrf")
    if csrf is not None:
        for endpoint in endpoints:
            csrf.exempt(app.view_functions[endpoint])
